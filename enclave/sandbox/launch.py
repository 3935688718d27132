"""Start a process of ours that will lock itself down, with one descriptor and nothing else.

The child gets that descriptor, ``/dev/null`` as standard input, output and error (a traceback on a
pipe would be plaintext outside), the environment below, and is killed when the process that started
it ends. The lock-down itself is the child's first act, in its own code.
"""

from __future__ import annotations

import importlib
import os
import resource
import subprocess
import threading
import traceback
from collections.abc import Callable, Sequence
from typing import IO

from strongroom.enclave.assurance import Assurance
from strongroom.enclave.sandbox import syscalls
from strongroom.isolated.compiled import compiled_set
from strongroom.isolated.start import Child

_NOWHERE = "/proc"  # torch wants a cache folder that exists; in this one not even root can write


def start(
    module: str,
    fd: int,
    assurance: Assurance,
    *,
    threads: int = 2,
    arguments: Sequence[str] = (),
    log: IO[bytes] | None = None,
) -> Child:
    """Run ``module.main(fd, assurance, arguments)`` in a new process that holds only ``fd``.

    ``threads`` is how many cores the numeric libraries may use. ``log`` takes the child's output,
    at ``A0`` only (``ValueError`` otherwise). The child ends with status 0 when ``main`` returns
    and 1 when it raises, and is killed when this process ends. The caller closes its copy of
    ``fd``.
    """
    if log is not None and assurance != "A0":
        raise ValueError("only an enclave without a sandbox may have a log")
    output: IO[bytes] | int = subprocess.DEVNULL if log is None else log

    def spawn() -> Child:
        return Child(
            __name__,
            (module, str(fd), assurance, str(os.getpid()), *arguments),
            environment=environment(threads),
            keep=[fd],
            measured=compiled_set().inside(),
            stdout=output,
            stderr=output,
            start_new_session=True,  # Ctrl-C is for the broker, which ends its enclave in order
        )

    return _from_lasting_thread(spawn)


def environment(threads: int) -> dict[str, str]:
    """Everything that the child's environment holds: no secrets, no proxies, no preloads.

    The malloc thresholds save system calls through the filter (8 % of a training step).
    """
    return {
        "HOME": _NOWHERE,
        "USER": "enclave",
        "TMPDIR": _NOWHERE,
        "OMP_NUM_THREADS": str(threads),
        # How long a thread that waits for others stays awake (libgomp). Asleep at once costs a
        # seventh of a step; the default, like all from 10,000 on, costs more on a busy machine.
        "GOMP_SPINCOUNT": "3000",
        "OPENBLAS_NUM_THREADS": str(threads),
        # Sums in one order whatever else the machine does, so that a step has the same bits again.
        "MKL_CBWR": "AUTO",
        "MKL_DYNAMIC": "FALSE",
        "TOKENIZERS_PARALLELISM": "false",
        "HF_HUB_OFFLINE": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "HF_HOME": _NOWHERE,
        "TRANSFORMERS_OFFLINE": "1",
        "TQDM_DISABLE": "1",
        "TORCHINDUCTOR_CACHE_DIR": _NOWHERE,
        "MALLOC_MMAP_THRESHOLD_": str(64 << 20),
        "MALLOC_TRIM_THRESHOLD_": str(256 << 20),
        "MALLOC_TOP_PAD_": str(16 << 20),
    }


def main(module: str, fd: str, assurance: Assurance, parent: str, *arguments: str) -> None:
    """The child's first instructions. Leaves by ``_exit``: Python's full exit trips the filter."""
    syscalls.die_with_parent(int(parent))
    if assurance != "A0":
        syscalls.prctl(syscalls.PR_SET_DUMPABLE, 0)
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    try:
        importlib.import_module(module).main(int(fd), assurance, arguments)
    except BaseException as error:
        if assurance == "A0":
            traceback.print_exception(error)
        os._exit(1)
    os._exit(0)


def _from_lasting_thread(spawn: Callable[[], Child]) -> Child:
    """Spawn from a thread that lives as long as the child.

    The death signal follows the thread that forked, so a child started from a worker thread would
    die with that thread.
    """
    result: list[Child | BaseException] = []
    ready = threading.Event()

    def body() -> None:
        try:
            process = spawn()
        except BaseException as error:  # handed to the caller
            result.append(error)
            ready.set()
            return
        result.append(process)
        ready.set()
        _await_end(process.pid)

    threading.Thread(target=body, name="enclave-parent", daemon=True).start()
    ready.wait()
    outcome = result.pop()
    if isinstance(outcome, BaseException):
        raise outcome
    return outcome


def _await_end(pid: int) -> None:
    """Wait without reaping: the status belongs to the holder of the Popen."""
    try:
        os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
    except ChildProcessError:
        return
