"""Where a log is kept: three calls, which a bucket and a folder both offer.

``create`` and ``replace`` must be atomic and conditional (S3 ``If-None-Match`` and ``If-Match``);
everything that the log guarantees rests on that. There is no delete.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol


class LogStore(Protocol):
    """Storage of one log; keys are relative to the log's prefix. Failures raise."""

    def read(self, key: str) -> tuple[bytes, str] | None:
        """The object's bytes and its version tag, or None when there is none."""
        ...

    def create(self, key: str, data: bytes) -> bool:
        """Write a new object; False, and nothing written, when one exists."""
        ...

    def replace(self, key: str, data: bytes, etag: str) -> bool:
        """Write over version ``etag``; False, and nothing written, when it has changed."""
        ...


class DirectoryStore:
    """A log in a folder, for air-gapped use and tests; safe between threads and processes."""

    def __init__(self, root: Path) -> None:
        self._root = root
        root.mkdir(parents=True, exist_ok=True)

    def read(self, key: str) -> tuple[bytes, str] | None:
        """See ``LogStore.read``; the tag is the content's SHA-256."""
        try:
            data = (self._root / key).read_bytes()
        except (FileNotFoundError, NotADirectoryError):
            return None
        return data, hashlib.sha256(data).hexdigest()

    def create(self, key: str, data: bytes) -> bool:
        """See ``LogStore.create``; a hard link makes the whole file appear at once or not."""
        with self._staged(key, data) as staged:
            try:
                os.link(staged, self._root / key)
            except FileExistsError:
                return False
        return True

    def replace(self, key: str, data: bytes, etag: str) -> bool:
        """See ``LogStore.replace``; writers take turns by a lock on the folder."""
        folder = os.open(self._root, os.O_RDONLY | os.O_DIRECTORY)
        try:
            fcntl.flock(folder, fcntl.LOCK_EX)
            current = self.read(key)
            if current is None or current[1] != etag:
                return False
            with self._staged(key, data) as staged:
                staged.replace(self._root / key)
        finally:
            os.close(folder)
        return True

    def keys(self) -> list[str]:
        """Every object's key, sorted."""
        files = (path for path in self._root.rglob("*") if path.is_file())
        names = (path.relative_to(self._root).as_posix() for path in files)
        return sorted(name for name in names if not name.rpartition("/")[2].startswith(".new-"))

    @contextmanager
    def _staged(self, key: str, data: bytes) -> Iterator[Path]:
        """A complete file beside the target, gone afterwards."""
        target = self._root / key
        target.parent.mkdir(parents=True, exist_ok=True)
        staged = target.parent / f".new-{secrets.token_hex(8)}"
        try:
            staged.write_bytes(data)
            yield staged
        finally:
            staged.unlink(missing_ok=True)
