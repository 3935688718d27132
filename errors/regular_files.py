"""Regular files that somebody else names, opened without leaving their folder.

A name may be a link, as in model caches, but none that leads out of the folder. What is no regular
file (a pipe, a device, a socket, a folder) is refused and never waited for, and so is what the
kernel makes up as it is read (``/proc``), which has no length. It lies in this package since all
others are above it.
"""

from __future__ import annotations

import ctypes
import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

_SYS_OPENAT2 = 437  # on every architecture
_RESOLVE_NO_MAGICLINKS, _RESOLVE_BENEATH = 0x02, 0x08


class _OpenHow(ctypes.Structure):
    """``struct open_how`` of openat2(2)."""

    _fields_ = (
        ("flags", ctypes.c_uint64),
        ("mode", ctypes.c_uint64),
        ("resolve", ctypes.c_uint64),
    )


@contextmanager
def open_beneath(folder: Path, name: str) -> Iterator[BinaryIO]:
    """A regular file below ``folder``, for reading. Raises ``OSError``."""
    parent = os.open(folder, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        descriptor = _openat2(parent, name)
    finally:
        os.close(parent)
    with os.fdopen(descriptor, "rb") as file:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode):
            raise OSError(errno.EINVAL, "no regular file", name)
        if not found.st_size and file.read(1):
            raise OSError(errno.EINVAL, "no file on a disk", name)
        file.seek(0)
        yield file


def read_beneath(folder: Path, name: str, max_bytes: int) -> bytes:
    """The bytes of such a file, but no more than one beyond ``max_bytes``. Raises ``OSError``."""
    with open_beneath(folder, name) as file:
        return file.read(max_bytes + 1)


def _openat2(folder: int, name: str) -> int:
    how = _OpenHow(
        flags=os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY,
        resolve=_RESOLVE_BENEATH | _RESOLVE_NO_MAGICLINKS,
    )
    libc = ctypes.CDLL(None, use_errno=True)
    path = ctypes.c_char_p(os.fsencode(name))
    arguments = (ctypes.c_int(folder), path, ctypes.byref(how), ctypes.c_size_t(ctypes.sizeof(how)))
    descriptor = int(libc.syscall(ctypes.c_long(_SYS_OPENAT2), *arguments))
    if descriptor < 0:
        number = ctypes.get_errno()
        reason = "a link out of its folder" if number == errno.EXDEV else os.strerror(number)
        raise OSError(number, reason, name)
    return descriptor
