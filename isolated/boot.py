"""What a child process of ours runs before anything else, so that nothing runs which is unmeasured.

Its parent hands it the measured set: the name and SHA-256 of every source file and every shared
object that may run. From then on a source is compiled from the very bytes that were compared, or
taken from an archive whose pieces are measured too; byte code beside sources is never read; and a
shared object is compared before it is loaded, together with all others of its distribution, which
the linker may load on its own. At the beginning and whenever :meth:`Guard.check_mapped` is called,
whatever is mapped into the process is compared as well. The first file that fails ends the process,
and its name goes to the parent.

Trusted before any of this can act: the kernel, the interpreter, what it imports to start
(``encodings``), ``hashlib`` and this file. They are measured, and compared once this file runs.

Only the standard library is imported, and of that as little as possible: every line here runs
unchecked.
"""

from __future__ import annotations

import _imp
import hashlib
import marshal
import os
import sys
from _frozen_importlib_external import (
    ExtensionFileLoader,
    SourceFileLoader,
    SourcelessFileLoader,
    SourceLoader,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from types import CodeType, ModuleType
    from typing import Any, NoReturn

REFUSED = 86
"""The exit status of a process that found something unmeasured."""

_DIGEST_BYTES = 32


class Guard:
    """The measured set, and what of it has been seen.

    ``roots`` are pairs of a label and a folder; a file's name is its folder's label and its path
    below that, or ``system/`` and its last part. ``files`` is a file's name and digest (more than
    one after each other, where copies differ), ``shared`` a top-level name's shared objects,
    ``code`` where in the archive the code of a source is: offset, size and digest.
    """

    def __init__(
        self,
        roots: list[tuple[str, str]],
        files: dict[str, bytes],
        shared: dict[str, tuple[str, ...]],
        code: dict[str, tuple[int, int, bytes]],
        archive: str,
    ) -> None:
        self.roots, self.files, self.shared, self.code = roots, files, shared, code
        self.refusals = -1
        """The descriptor to name a refused file on; without one, importing it fails instead."""
        self._archive = archive
        self._compiled: bytes | None = None
        self._seen: dict[str, tuple[int, ...]] = {}
        self._complete: set[str] = set()

    def name(self, path: str) -> str:
        """What ``path`` is called in the measured set."""
        for label, folder in self.roots:
            if path.startswith(folder + "/"):
                return label + path[len(folder) :]
        return "system/" + path.rpartition("/")[2]

    def code_of(self, path: str, source: bytes) -> CodeType:
        """The code of a source file with this content."""
        name = self.name(path)
        self._compare(path, name, _sha256(source))
        self._load_shared_of(name)
        offset, size, digest = self.code.get(name, (0, 0, b""))
        if size:
            piece = self._read_archive()[offset : offset + size]
            if _sha256(piece) == digest:
                code: CodeType = marshal.loads(piece)  # noqa: S302  compared
                _imp._fix_co_filename(code, path)  # type: ignore[attr-defined]
                return code
        return compile(source, path, "exec", dont_inherit=True)

    def check_shared(self, path: str) -> None:
        """Compare a shared object that is about to be loaded, and its distribution's others."""
        self._load_shared_of(self.name(path))
        self.check_file(path)

    def check_file(self, path: str) -> None:
        """Compare a file, unless it has not been touched since that was last done."""
        try:
            stamp = _stamp(os.stat(path))
            if self._seen.get(path) == stamp:
                return
            with open(path, "rb", buffering=0) as file:
                stamp = _stamp(os.fstat(file.fileno()))
                digest = hashlib.file_digest(file, "sha256").digest()
        except OSError as error:
            self.refuse(path, "a file that can be read", os.strerror(error.errno or 0))
        self._compare(path, self.name(path), digest)
        self._seen[path] = self._seen[os.path.realpath(path)] = stamp

    def check_mapped(self, own: Iterable[str] = ()) -> None:
        """Compare every file that is mapped into this process; ``own`` are beginnings of paths
        of mappings that this process made itself, which must not be executable."""
        own = tuple(own)
        with open("/proc/self/maps", "rb") as maps:
            lines = maps.read().splitlines()
        found: dict[str, bool] = {}
        for line in lines:
            fields = line.split(None, 5)
            if len(fields) == 6 and fields[5].startswith(b"/"):
                path = os.fsdecode(fields[5])
                found[path] = found.get(path, False) or b"x" in fields[1]
        for path, executable in found.items():
            if executable or not (own and path.startswith(own)):
                if path.endswith(" (deleted)"):
                    self.refuse(path, "a file of the measured set", "mapped, and not there")
                self.check_file(path)

    def check_loaded(self, modules: Iterable[ModuleType]) -> None:
        """Compare the files of modules that were imported before there was a guard."""
        for module in modules:
            path = getattr(module, "__file__", None)
            if path and os.path.isabs(path):
                self.check_file(path)

    def refuse(self, place: str, expected: str, actual: str) -> NoReturn:
        """End this process, or where nobody is told of it, fail the import."""
        if self.refusals < 0:
            raise ImportError(f"{place} is not in the measured set: {actual}", path=place)
        try:
            os.write(self.refusals, "\0".join((place, expected, actual)).encode()[:4096])
            os.write(2, f"{place}: expected {expected}, found {actual}\n".encode())
        finally:
            os._exit(REFUSED)

    def settle(self, own: Iterable[str] = ()) -> None:
        """All is loaded: :meth:`check_mapped`, and let go of what was needed to load more."""
        self.check_mapped(own)
        self.forget_parent()
        self._compiled = b""

    def forget_parent(self) -> None:
        """Tell nobody of refusals any more; what is unmeasured fails to import."""
        if self.refusals >= 0:
            os.close(self.refusals)
        self.refusals = -1

    def _load_shared_of(self, name: str) -> None:
        root, _, below = name.partition("/")
        top = f"{root}/{below.partition('/')[0]}"
        if top not in self._complete:
            self._complete.add(top)
            folders = [folder for label, folder in self.roots if label == root]
            for other in self.shared.get(top, ()):
                for full in (f"{folder}/{other}" for folder in folders):
                    if os.path.exists(full):  # else it cannot be loaded either
                        self.check_file(full)

    def _compare(self, path: str, name: str, digest: bytes) -> None:
        expected = self.files.get(name, b"")
        known = [expected[i : i + _DIGEST_BYTES] for i in range(0, len(expected), _DIGEST_BYTES)]
        if digest not in known:
            self.refuse(
                path,
                f"sha256:{known[0].hex()}" if known else "a file of the measured set",
                f"sha256:{digest.hex()}" if known else "a file that was not measured",
            )

    def _read_archive(self) -> bytes:
        """All of it, in memory: it is needed when files cannot be opened any more, and reading it
        piece by piece would show in the page cache which module is loaded."""
        if self._compiled is None:
            try:
                with open(self._archive, "rb") as archive:
                    self._compiled = archive.read()
            except OSError:
                self._compiled = b""  # everything is compiled from its source
        return self._compiled


guard: Guard | None = None
"""That of this process, if it was started by :func:`enter`."""

given: bytes = b""
"""The measured set as this process got it, to be handed on to its own children."""


def _sha256(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()


def _stamp(status: os.stat_result) -> tuple[int, ...]:
    return status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns


def install(found: Guard) -> None:
    """From here on every import goes through ``found``."""

    def get_code(self: Any, fullname: str) -> CodeType:
        path = self.get_filename(fullname)
        return found.code_of(path, self.get_data(path))

    def refuse_code(self: Any, fullname: str) -> NoReturn:
        found.refuse(self.get_filename(fullname), "source code", "byte code without its source")

    def create_module(self: Any, spec: Any) -> ModuleType:
        found.check_shared(self.path)
        return load_extension(self, spec)

    load_extension = ExtensionFileLoader.create_module
    for loader in (SourceLoader, SourceFileLoader):
        loader.get_code = get_code  # type: ignore[method-assign]
    SourcelessFileLoader.get_code = refuse_code  # type: ignore[method-assign]
    ExtensionFileLoader.create_module = create_module  # type: ignore[method-assign]
    # No modules out of archives: their code would be read by another loader.
    sys.path_hooks[:] = [hook for hook in sys.path_hooks if hook.__name__ != "zipimporter"]
    sys.path_importer_cache.clear()


def check_entry(found: Guard, descriptors: set[int]) -> None:
    """That nothing came along: no descriptor but these, no second thread, no foreign mapping."""
    for number in map(int, os.listdir("/proc/self/fd")):
        try:
            held = os.readlink(f"/proc/self/fd/{number}")
        except FileNotFoundError:  # that of the listing itself
            continue
        if number not in descriptors:
            found.refuse(f"descriptor {number}", "no such descriptor", held)
    threads = len(os.listdir("/proc/self/task"))
    if threads != 1:
        found.refuse("the process at its start", "1 thread", f"{threads} threads")
    found.check_mapped()


def enter(read_from: str, refusals: str, kept: str, module: str, *arguments: str) -> None:
    """Be the child process: take the measured set from the descriptor ``read_from``, check what is
    there, and call ``main`` of ``module`` with the arguments.

    ``kept`` are the numbers of the descriptors that the module is to have, with commas.
    """
    global given, guard
    with open(int(read_from), "rb") as file:
        given = file.read()
    path, prefixes, *content = marshal.loads(given)  # noqa: S302  made by our parent, in memory
    guard = Guard(*content[:-1])
    guard.refusals = int(refusals)
    install(guard)
    guard.check_loaded(list(sys.modules.values()))
    check_entry(guard, {0, 1, 2, guard.refusals, *map(int, filter(None, kept.split(",")))})
    sys.path[:] = path
    sys.prefix, sys.exec_prefix, sys.executable = prefixes
    sys.argv = [module, *arguments]
    from importlib import import_module

    import_module(module).main(*arguments)
