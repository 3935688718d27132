"""Reading files that hold secrets: plain files that only this user can read, or not at all."""

from __future__ import annotations

import os
import stat
from pathlib import Path


class NotPrivate(Exception):
    """The file is missing, not a plain file, too large, or open to others. Says which."""


def read_private(path: Path, *, max_bytes: int) -> bytes:
    """The content of a file with secrets. Links are not followed. Raises ``NotPrivate``."""
    try:
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
        descriptor = os.open(path, flags)
    except OSError as error:
        raise NotPrivate(os.strerror(error.errno or 0)) from None
    try:
        mode = os.fstat(descriptor).st_mode
        if not stat.S_ISREG(mode):
            raise NotPrivate("not a plain file")
        if mode & 0o077:
            raise NotPrivate(f"mode {stat.S_IMODE(mode):04o}, expected 0600")
        content = os.read(descriptor, max_bytes + 1)
    finally:
        os.close(descriptor)
    if len(content) > max_bytes:
        raise NotPrivate(f"more than {max_bytes} bytes")
    return content
