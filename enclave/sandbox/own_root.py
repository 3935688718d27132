"""A root of this process's own, that holds nothing but what it may read.

Whoever serves a mount hears the names that are looked up in it, whatever Landlock says of reading.
So where a mount namespace can be had, the process leaves every mount behind but those of the
interpreter, its libraries and a few facts on the machine: each is bound without what is mounted
below it, and read-only. Symbolic links on the way are there as they were, so that every path means
what it meant. Landlock's rules are made afterwards, on the new root's paths.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import stat
import struct
from collections.abc import Mapping, Sequence
from pathlib import Path

from strongroom.enclave.sandbox import syscalls

PRIVATE_FOLDER = Path("/dev/shm")  # noqa: S108
"""Kept as an empty folder, for :mod:`enclave.sandbox.scratch`; the new root is built over it."""

_MS_NOSUID, _MS_NODEV, _MS_NOEXEC, _MS_BIND = 2, 4, 8, 1 << 12
_MS_REC, _MS_PRIVATE = 1 << 14, 1 << 18
_MNT_DETACH = 2
_AT_FDCWD = -100
_RDONLY, _NOSUID, _NODEV = 1, 2, 4  # of mount_setattr, which only ever adds


def enter(paths: Sequence[Path]) -> None:
    """Make the new root of ``paths`` and enter it; those that do not exist are left out.

    Call it with one thread, in a mount namespace of this process alone, with the capability to
    mount. Raises ``OSError``, with the old root as it was.
    """
    syscalls.call("mount", 0, syscalls.text("/"), 0, _MS_REC | _MS_PRIVATE, 0)
    root = PRIVATE_FOLDER
    kind = syscalls.text("tmpfs")
    options = syscalls.text("mode=0755,size=1m,nr_inodes=4096")
    flags = _MS_NOSUID | _MS_NODEV | _MS_NOEXEC
    # Resolved before the new file system hides what is below it.
    sources = [(path, os.open(path, os.O_PATH | os.O_CLOEXEC)) for path in paths if path.exists()]
    targets = [path.resolve() for path, _ in sources]
    links = {link: target for path, _ in sources for link, target in _links(path)}
    syscalls.call("mount", kind, syscalls.text(str(root)), kind, flags, options)
    try:
        _fill(root, links, dict(zip(targets, (source for _, source in sources), strict=True)))
        os.chdir(root)
        syscalls.call("pivot_root", syscalls.text("."), syscalls.text("."))
    except OSError:
        with contextlib.suppress(OSError):
            syscalls.call("umount2", syscalls.text(str(root)), _MNT_DETACH)
        raise
    finally:
        for _, source in sources:
            os.close(source)
    syscalls.call("umount2", syscalls.text("."), _MNT_DETACH)
    os.chdir("/")


def _fill(root: Path, links: Mapping[Path, str], sources: Mapping[Path, int]) -> None:
    for link, text in links.items():
        place = _under(root, link)
        place.parent.mkdir(parents=True, exist_ok=True)
        place.symlink_to(text)
    bound: list[Path] = []
    for target in sorted(sources):
        if not any(target.is_relative_to(other) for other in bound):
            _bind(sources[target], _under(root, target))
            bound.append(target)
    _under(root, PRIVATE_FOLDER).mkdir(parents=True, exist_ok=True)
    _restrict(root, _RDONLY)


def _links(path: Path) -> list[tuple[Path, str]]:
    """Every symbolic link on the way to ``path``: where it is, itself resolved, and its text."""
    found: list[tuple[Path, str]] = []
    at, left = Path("/"), list(path.parts[1:])
    while left:
        name = left.pop(0)
        if name == "..":
            at = at.parent
        elif (at / name).is_symlink():
            text = str((at / name).readlink())
            found.append((at / name, text))
            at = Path("/") if text.startswith("/") else at
            left = [part for part in Path(text).parts if part != "/"] + left
        else:
            at /= name
    return found


def _bind(source: int, place: Path) -> None:
    kind = os.fstat(source).st_mode
    if stat.S_ISDIR(kind):
        place.mkdir(parents=True, exist_ok=True)
    else:
        place.parent.mkdir(parents=True, exist_ok=True)
        place.touch()
    syscalls.call(
        "mount", syscalls.text(f"/proc/self/fd/{source}"), syscalls.text(str(place)), 0, _MS_BIND, 0
    )
    device = stat.S_ISCHR(kind)
    _restrict(place, _RDONLY * (not device) | _NOSUID | _NODEV * (not device))


def _restrict(place: Path, attributes: int) -> None:
    request = struct.pack("QQQQ", attributes, 0, 0, 0)
    buffer = ctypes.create_string_buffer(request, len(request))
    syscalls.call("mount_setattr", _AT_FDCWD, syscalls.text(str(place)), 0, buffer, len(request))


def _under(root: Path, path: Path) -> Path:
    return root / path.relative_to("/")
