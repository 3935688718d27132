"""The measured set: every file that may run in a process of ours, by name and SHA-256.

It holds the interpreter and the standard library, the system's libraries that they and others are
linked to, our own sources, and all sources and shared objects of the distributions that are
installed in this environment, as their ``RECORD`` pins them. What no ``RECORD`` names (a ``.pth``
file, byte code, a file that somebody put there) is not in it and does not run.

Files of libraries are not read here: a process compares each one when it loads it
(:mod:`isolated.boot`). The set is the same in every place where the same is installed.
"""

from __future__ import annotations

import base64
import hashlib
import marshal
import os
import re
import site
import sys
import sysconfig
from dataclasses import dataclass, fields, replace
from functools import cache
from pathlib import Path

import strongroom
from strongroom.isolated import boot

INSIDE = ("errors", "isolated", "crypto", "trainer", "enclave")
"""The packages of ours that run in an enclave; no other of ours can even be read there."""

_CODE = re.compile(r".*\.py|.*\.so(?:\.[0-9][\w.+-]*)?")
_PINNED = re.compile(r"(?P<name>.+),sha256=(?P<digest>[\w-]{43}),\d*")
_NOTES = re.compile(r"\.dist-info/(INSTALLER|REQUESTED|RECORD|direct_url\.json),|\.pyc,|^\.\.")
_NOT_RUN = frozenset(("site-packages", "dist-packages", "test", "tests", "idlelib", "__pycache__"))
"""Folders of the standard library that are not measured, and so cannot be imported."""

_SYSTEM_NAMES = re.compile(
    r"(ld-linux[\w-]*|lib(c|m|dl|pthread|rt|util|resolv|crypt|gcc_s|stdc\+\+|gomp|atomic|quadmath"
    r"|gfortran|z|zstd|lzma|bz2|ssl|crypto|ffi|expat|uuid|sqlite3|readline|tinfow?|ncursesw?"
    r"|panelw?|gdbm|gdbm_compat|db-5|nsl|tirpc|mpdec|numa|cuda|nvidia-[\w-]+|python3[\d.]*))"
    r"\.so[\d.]*"
)
"""The system's libraries that may be mapped, beside those that wheels bring along."""
_SYSTEM_FOLDERS = tuple(
    dict.fromkeys(
        str(Path(folder).resolve())
        for folder in (
            sysconfig.get_config_var("LIBDIR") or "/usr/lib",
            f"/usr/lib/{sysconfig.get_config_var('MULTIARCH') or ''}",
            f"/lib/{sysconfig.get_config_var('MULTIARCH') or ''}",
            *("/usr/lib64", "/lib64", "/usr/lib", "/lib", "/usr/local/lib"),
        )
    )
)
_GCONV = "gconv/gconv-modules.cache"
_LOCALE = ("/usr/lib/locale/C.utf8/LC_CTYPE", "/usr/lib/locale/locale-archive")
"""Tables that the C library maps; they do not run."""


Index = dict[str, tuple[int, int, bytes]]
"""By source file: where its byte code begins in a file, its size, and its SHA-256."""


@dataclass(frozen=True, eq=False)
class MeasuredSet:
    """What may run; see :class:`isolated.boot.Guard` for the form of each part."""

    path: list[str]
    """Where modules are looked for, the standard library first."""
    prefixes: tuple[str, str, str]
    """``sys.prefix``, ``sys.exec_prefix`` and ``sys.executable``."""
    roots: list[tuple[str, str]]
    files: dict[str, bytes]
    shared: dict[str, tuple[str, ...]]
    code: Index
    archive: str
    """The file with the code of sources in ``code``."""
    distributions: dict[str, tuple[str, bytes]]
    """Version of each, and the digest of what its ``RECORD`` says."""

    def inside(self) -> MeasuredSet:
        """What of it may run in an enclave."""
        kept = {
            name: digest
            for name, digest in self.files.items()
            if not name.startswith("own/") or name.split("/")[1] in (*INSIDE, "__init__.py")
        }
        return replace(self, files=kept)

    def encoded(self) -> bytes:
        """For :func:`isolated.boot.enter`."""
        return marshal.dumps(tuple(getattr(self, item.name) for item in fields(self)), 2)

    def read(self, name: str) -> bytes:
        """A file's content, by its name; nothing if it is not there."""
        label, _, below = name.partition("/")
        for root, folder in self.roots:
            path = Path(folder, below)
            if root == label and path.is_file():
                return path.read_bytes()
        return b""


@cache
def measured_set() -> MeasuredSet:
    """That of this environment; in a process that was given one, that one."""
    if boot.given:
        return MeasuredSet(*marshal.loads(boot.given))  # noqa: S302  made by our parent, in memory
    own = str(Path(strongroom.__file__).parent)
    library = sysconfig.get_path("stdlib")
    extensions = sysconfig.get_config_var("DESTSHARED") or f"{library}/lib-dynload"
    packages = [folder for folder in site.getsitepackages() if Path(folder).is_dir()]
    found = _Found()
    for folder in packages:
        for record in sorted(Path(folder).glob("*.dist-info/RECORD")):
            found.add_distribution(record)
    found.add_tree("own", own)
    found.add_tree("python", library)
    found.add_tree("python", extensions)
    found.add_system()
    roots = [("own", own), *(("site", folder) for folder in packages)]
    roots += [("python", extensions), ("python", library)]
    return MeasuredSet(
        [library, extensions, *packages, str(Path(own).parent)],
        (sys.prefix, sys.exec_prefix, sys.executable),
        roots,
        dict(sorted(found.files.items())),
        {name: tuple(sorted(paths)) for name, paths in sorted(found.shared.items())},
        {},
        "",
        dict(sorted(found.distributions.items())),
    )


class _Found:
    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.shared: dict[str, set[str]] = {}
        self.distributions: dict[str, tuple[str, bytes]] = {}

    def add(self, name: str, digest: bytes) -> None:
        """Two distributions, or two folders, may have files of one name: either may run."""
        known = self.files.setdefault(name, digest)
        if digest not in (known[i : i + 32] for i in range(0, len(known), 32)):
            self.files[name] = known + digest

    def add_distribution(self, record: Path) -> None:
        """All code that a distribution's ``RECORD`` names."""
        lines = record.read_text(encoding="utf-8", errors="surrogateescape").splitlines()
        # Scripts, byte code and the installer's notes differ between machines with the same files.
        lines = sorted(line for line in lines if not _NOTES.search(line))
        name, _, version = record.parent.name.removesuffix(".dist-info").rpartition("-")
        name = name.lower().replace("_", "-")
        if name == "strongroom":  # our sources are measured themselves
            return
        text = "\n".join(lines).encode(errors="surrogateescape")
        self.distributions[name] = (version, hashlib.sha256(text).digest())
        tops, shared = set(), set()
        for line in lines:
            pinned = _PINNED.fullmatch(line)
            if pinned is None or not _CODE.fullmatch(pinned["name"].strip('"')):
                continue
            path = pinned["name"].strip('"')
            self.add(f"site/{path}", base64.urlsafe_b64decode(pinned["digest"] + "="))
            tops.add(f"site/{path.partition('/')[0]}")
            if not path.endswith(".py"):
                shared.add(path)
        for top in tops if shared else ():
            self.shared.setdefault(top, set()).update(shared)

    def add_tree(self, label: str, folder: str) -> None:
        """All code below ``folder``, as it is now."""
        for at, folders, names in os.walk(folder, followlinks=True):
            folders[:] = [name for name in folders if name not in _NOT_RUN]
            for name in filter(_CODE.fullmatch, names):
                path = Path(at, name)
                self.add(f"{label}/{path.relative_to(folder)}", _digest(path))

    def add_system(self) -> None:
        """The interpreter and the libraries of the system."""
        interpreter = Path(sys.executable).resolve()
        self.add(f"system/{interpreter.name}", _digest(interpreter))
        for folder in map(Path, _SYSTEM_FOLDERS):
            paths = list(folder.iterdir()) if folder.is_dir() else []
            paths = [path for path in paths if _SYSTEM_NAMES.fullmatch(path.name)]
            for path in {path.resolve() for path in paths} | {folder / _GCONV}:
                if path.is_file():
                    self.add(f"system/{path.name}", _digest(path))
        for path in filter(Path.is_file, map(Path, _LOCALE)):
            self.add(f"system/{path.name}", _digest(path))


def _digest(path: Path) -> bytes:
    return hashlib.sha256(path.read_bytes()).digest()
