"""Where a log is kept: what a bucket and a folder both offer.

Reading and writing are apart, since only the log's sequencer writes. ``create`` and ``replace`` are
atomic and conditional (S3 ``If-None-Match`` and ``If-Match``). There is no delete.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import secrets
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from strongroom.audit.errors import AuditError
from strongroom.audit.log.errors import LogNotWritable, LogUnreadable
from strongroom.errors import StrongroomError

CHECKPOINT = "checkpoint"
"""The object that holds the newest signed checkpoint; the only one that is written anew."""

AT_ONCE = 64
"""Objects in one request: as bundles, up to 16,384 entries."""


@dataclass(frozen=True)
class StoredVersion:
    """One version of one object, or a mark that it was deleted, as a listing tells it."""

    key: str
    version: str
    """The store's name for it; empty where the store keeps none."""
    current: bool
    deleted: bool = False
    etag: str = ""
    """On S3 the MD5 of what was put in one piece without a key service."""
    size_bytes: int = 0


class LogReader(Protocol):
    """A stored log to read; keys are relative to the log's prefix. Failures raise."""

    def read(self, key: str) -> tuple[bytes, str] | None:
        """The object's bytes and its version tag, or None when there is none."""
        ...

    def read_many(self, keys: Sequence[str]) -> list[bytes | None]:
        """Each object's bytes, or None; at once where the store can."""
        ...

    def read_versions(self, key: str, versions: Sequence[str]) -> list[bytes | None]:
        """The bytes of each of these versions, or None; at once where the store can."""
        ...

    def versions(self) -> Iterator[StoredVersion]:
        """Everything stored under the prefix: by key, and of each key the newest first."""
        ...


class LogStore(LogReader, Protocol):
    """A stored log to write."""

    def create(self, key: str, data: bytes) -> bool:
        """Write a new object; False, and nothing written, when one exists."""
        ...

    def replace(self, key: str, data: bytes, etag: str) -> bool:
        """Write over version ``etag``; False, and nothing written, when it has changed."""
        ...


class GuardedReader:
    """A reader whose failures are audit errors: what went wrong by code, never by its text."""

    def __init__(self, store: LogReader) -> None:
        self._store = store

    def read(self, key: str) -> tuple[bytes, str] | None:
        """As ``LogReader.read``; raises ``LogUnreadable``."""
        with _failing(LogUnreadable, key):
            return self._store.read(key)

    def read_many(self, keys: Sequence[str]) -> list[bytes | None]:
        """As ``LogReader.read_many``, some at a time; raises ``LogUnreadable``."""
        found: list[bytes | None] = []
        for at in range(0, len(keys), AT_ONCE):
            with _failing(LogUnreadable, keys[at]):
                found += self._store.read_many(keys[at : at + AT_ONCE])
        return found

    def read_versions(self, key: str, versions: Sequence[str]) -> list[bytes | None]:
        """As ``LogReader.read_versions``, some at a time; raises ``LogUnreadable``."""
        found: list[bytes | None] = []
        for at in range(0, len(versions), AT_ONCE):
            with _failing(LogUnreadable, key):
                found += self._store.read_versions(key, versions[at : at + AT_ONCE])
        return found

    def versions(self) -> list[StoredVersion]:
        """As ``LogReader.versions``, all of them; raises ``LogUnreadable``."""
        with _failing(LogUnreadable, ""):
            return list(self._store.versions())


class GuardedStore(GuardedReader):
    """The same for a store to write."""

    def __init__(self, store: LogStore) -> None:
        super().__init__(store)
        self._writable = store

    def create(self, key: str, data: bytes) -> bool:
        """As ``LogStore.create``; raises ``LogNotWritable``."""
        with _failing(LogNotWritable, key):
            return self._writable.create(key, data)

    def replace(self, key: str, data: bytes, etag: str) -> bool:
        """As ``LogStore.replace``; raises ``LogNotWritable``."""
        with _failing(LogNotWritable, key):
            return self._writable.replace(key, data, etag)


@contextmanager
def _failing(kind: type[AuditError], key: str) -> Iterator[None]:
    try:
        yield
    except AuditError:
        raise
    except Exception as error:
        raise kind(place=key, actual=_cause(error)) from error


def _cause(error: Exception) -> str:
    if isinstance(error, StrongroomError):
        return f"{error.code} ({error.title})"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return type(error).__name__


class DirectoryStore:
    """A log in a folder, for copies and tests; safe between threads and processes."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def read(self, key: str) -> tuple[bytes, str] | None:
        """See ``LogReader.read``; the tag is the content's SHA-256."""
        path = self._root / key
        try:
            if not path.is_file():  # reading a pipe would never end
                return None
            data = path.read_bytes()
        except FileNotFoundError:
            return None
        return data, hashlib.sha256(data).hexdigest()

    def read_many(self, keys: Sequence[str]) -> list[bytes | None]:
        """See ``LogReader.read_many``."""
        found = (self.read(key) for key in keys)
        return [None if each is None else each[0] for each in found]

    def read_versions(self, key: str, versions: Sequence[str]) -> list[bytes | None]:
        """See ``LogReader.read_versions``; a folder keeps the current one only."""
        found = self.read(key)
        return [None if found is None or version else found[0] for version in versions]

    def versions(self) -> Iterator[StoredVersion]:
        """See ``LogReader.versions``."""
        for key in self.keys():
            data = (self._root / key).read_bytes()
            digest = hashlib.md5(data, usedforsecurity=False).hexdigest()
            yield StoredVersion(key, version="", current=True, etag=digest, size_bytes=len(data))

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
        self._root.mkdir(parents=True, exist_ok=True)
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
