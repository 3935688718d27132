"""A folder of plain weights: all of it on the disk under its name, or nothing.

Files are made in a hidden folder beside the destination, which takes the name when all of them are
on the disk. The weights come out of pipes and are moved by ``splice(2)``, inside the kernel: the
process that has them written never has one in its memory.

A process that is killed leaves the hidden folder, mode 0700, with what it held.
"""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from strongroom.enclave.channel.errors import ChannelViolation
from strongroom.pipeline.keyholder.errors import DestinationTaken, ExportNotWritten

SPLICE_BYTES = 1 << 20


def check_free(target: Path) -> None:
    """Raise ``DestinationTaken`` unless ``target`` is missing or an empty folder."""
    with _reporting(target):
        occupied = target.exists() and (not target.is_dir() or any(target.iterdir()))
        if target.is_symlink() or occupied:
            raise DestinationTaken(place=str(target), expected="no such folder, or an empty one")
        if not target.parent.is_dir():
            raise ExportNotWritten(place=str(target.parent), expected="a folder", actual="none")


@contextmanager
def new_folder(target: Path) -> Iterator[Path]:
    """A hidden folder (mode 0700) that becomes ``target``, or is gone with all that it held."""
    with _reporting(target):
        made = tempfile.mkdtemp(prefix=f".{target.name}.", suffix=".partial", dir=target.parent)
    folder = Path(made)
    try:
        yield folder
        with _reporting(target):
            for each in (folder, *(path for path in folder.rglob("*") if path.is_dir())):
                _sync(each)
            folder.rename(target)
        with contextlib.suppress(OSError):  # a parent that may not be read: the name is not lost
            _sync(target.parent)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def write_file(path: Path, data: bytes) -> None:
    """A new file, on the disk when this returns."""
    with _reporting(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        with os.fdopen(_new_file(path), "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())


def fill_file(path: Path, pipe: int, limit: int) -> None:
    """A new file from a pipe's bytes, which this process moves and does not read."""
    with _reporting(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        file = _new_file(path)
        try:
            size = 0
            while moved := os.splice(pipe, file, SPLICE_BYTES):
                size += moved
                if size > limit:
                    raise ChannelViolation(place="exporter", expected=f"at most {limit} bytes")
            os.fsync(file)
        finally:
            os.close(file)


def _new_file(path: Path) -> int:
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)


def _sync(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextmanager
def _reporting(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        name = errno.errorcode.get(error.errno or 0, "an error")
        raise ExportNotWritten(place=str(path), actual=name) from None
