"""The one way in which this product starts a Python process: it runs the measured set, no more.

The child gets no ``site`` (so no ``.pth`` file and no customisation), no ``PYTHON…`` variable, a
path that is written here, ``/`` as its working folder, an environment that its caller writes out,
and the descriptors that its caller names. Its first act is :func:`isolated.boot.enter`.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import weakref
from collections.abc import Mapping, Sequence
from typing import Any

from strongroom.isolated import boot
from strongroom.isolated.errors import CodeRefused
from strongroom.isolated.measured import MeasuredSet, measured_set

_LINE = (
    "import sys; path, *rest = sys.argv[1:]; boot = type(sys)('strongroom.isolated.boot'); "
    "boot.__file__ = path; sys.modules[boot.__name__] = boot; "
    "exec(compile(open(path, 'rb').read(), path, 'exec'), boot.__dict__); boot.enter(*rest)"
)
_OPTIONS = ("-S", "-B", "-X", "pycache_prefix=/proc/nowhere", "-c", _LINE)


def user_environment() -> dict[str, str]:
    """Where this user's files lie: all that a child may take from our own environment.

    No proxy, no certificate, no region, no credential: clients take nothing from there.
    """
    return {name: os.environ[name] for name in ("HOME", "TMPDIR") if name in os.environ}


class Child(subprocess.Popen[bytes]):
    """A Python process of ours. Its standard streams are ``/dev/null`` unless given."""

    def __init__(
        self,
        module: str,
        arguments: Sequence[str] = (),
        *,
        environment: Mapping[str, str],
        keep: Sequence[int] = (),
        measured: MeasuredSet | None = None,
        hash_seed: int | None = None,
        **streams: Any,
    ) -> None:
        """Run ``module.main(*arguments)``, with the descriptors ``keep`` open.

        ``measured`` is what may run, by default all of ours and all that is installed, compiled
        anew. ``hash_seed`` fixes the order of sets. ``streams`` are further arguments of
        ``Popen``, such as ``stdin``.
        """
        # The seed is a variable, which -I would ignore as any other; there are none but ours.
        isolated: tuple[str, ...] = ("-I",)
        seed: dict[str, str] = {}
        if hash_seed is not None:
            isolated, seed = ("-P", "-s"), {"PYTHONHASHSEED": str(hash_seed)}
        what = measured_set() if measured is None else measured
        self._refusals, refusals = os.pipe()
        given = _in_memory(what.encoded())
        try:
            told = (str(given), str(refusals), ",".join(map(str, keep)))
            super().__init__(
                # Not a link to it: beside that lies a file that names another standard library.
                [
                    os.path.realpath(sys.executable),
                    *isolated,
                    *_OPTIONS,
                    boot.__file__,
                    *told,
                    module,
                    *arguments,
                ],
                pass_fds=(given, refusals, *keep),
                env={"LANG": "C.UTF-8", **environment, **seed},
                cwd="/",
                **dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.DEVNULL) | streams,
            )
        except BaseException:
            os.close(self._refusals)
            raise
        finally:
            os.close(given)
            os.close(refusals)
        weakref.finalize(self, os.close, self._refusals)
        os.set_blocking(self._refusals, False)

    def refusal(self) -> CodeRefused | None:
        """What this process refused to run, if that is what ended it."""
        with contextlib.suppress(BlockingIOError):
            fields = os.read(self._refusals, 4096).decode(errors="replace").split("\0")
            if len(fields) == 3:
                return CodeRefused(place=fields[0], expected=fields[1], actual=fields[2])
        return None


def run(
    module: str,
    arguments: Sequence[str] = (),
    *,
    environment: Mapping[str, str],
    given: bytes = b"",
    timeout_s: float | None = None,
    **options: Any,
) -> subprocess.CompletedProcess[bytes]:
    """Run a module to its end, with ``given`` as its standard input; ``options`` as of ``Child``.

    Raises ``CodeRefused``, and ``subprocess.TimeoutExpired`` once it has been killed.
    """
    options |= dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
    with Child(module, arguments, environment=environment, **options) as child:
        try:
            output, errors = child.communicate(given, timeout_s)
        except BaseException:
            child.kill()
            raise
        if refused := child.refusal():
            raise refused
    return subprocess.CompletedProcess(module, child.returncode, output, errors)


def _in_memory(content: bytes) -> int:
    """A descriptor to read ``content`` from."""
    descriptor = os.memfd_create("measured set", 0)
    with open(descriptor, "wb", closefd=False) as file:
        file.write(content)
    os.lseek(descriptor, 0, os.SEEK_SET)
    return descriptor
