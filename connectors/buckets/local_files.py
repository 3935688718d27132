"""Small steps on file descriptors for ``connectors.buckets.local``: no path is resolved twice."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC


def step(folder: int, segment: str, make: bool) -> int:
    """Open one directory further down; a link there is refused."""
    if make:
        with contextlib.suppress(FileExistsError):
            os.mkdir(segment, 0o700, dir_fd=folder)
            os.fsync(folder)
    return os.open(segment, READ | os.O_DIRECTORY, dir_fd=folder)


def sync(path: Path) -> None:
    """Make the names in a directory outlast a crash."""
    folder = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def exists(folder: int, name: str) -> bool:
    """Whether the directory has an entry of this name, be it a link to nothing."""
    try:
        os.stat(name, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return True


def read_at(file: int, start: int, length: int) -> bytes:
    """``length`` bytes from ``start``, or what there is of them."""
    found = bytearray()
    while len(found) < length:
        block = os.pread(file, length - len(found), start + len(found))
        if not block:
            break
        found += block
    return bytes(found)


def write_all(file: int, data: memoryview) -> None:
    """Write until nothing is left; the system may take less at a time."""
    while data:
        data = data[os.write(file, data) :]


def stamp(status: os.stat_result) -> tuple[int, int, int]:
    """What tells one version of an open file from the next: inode, size, time of change."""
    return status.st_ino, status.st_size, status.st_mtime_ns
