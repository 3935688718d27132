"""Stores that fail on demand, and keys to build logs and reports with."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from strongroom.audit.events.entries import Event
from strongroom.audit.log.store import LogStore
from strongroom.audit.log.writer import AuditLog
from strongroom.audit.report.planned import Planned
from support import invented

ORIGIN = "acme-audit/strongroom"


class MemoryStore:
    """A log in memory, atomic as a bucket is."""

    def __init__(self) -> None:
        self.objects: dict[str, tuple[bytes, str]] = {}
        self._versions = 0
        self._lock = threading.Lock()

    def read(self, key: str) -> tuple[bytes, str] | None:
        with self._lock:
            return self.objects.get(key)

    def create(self, key: str, data: bytes) -> bool:
        with self._lock:
            if key in self.objects:
                return False
            self._put(key, data)
            return True

    def replace(self, key: str, data: bytes, etag: str) -> bool:
        with self._lock:
            if key not in self.objects or self.objects[key][1] != etag:
                return False
            self._put(key, data)
            return True

    def keys(self) -> list[str]:
        return sorted(self.objects)

    def _put(self, key: str, data: bytes) -> None:
        self._versions += 1
        self.objects[key] = (bytes(data), str(self._versions))


class FailingStore:
    """Passes calls on, and raises ``error`` at the ``at``-th one, before or after its effect."""

    def __init__(self, store: LogStore, at: int, error: BaseException, *, after: bool) -> None:
        self.calls = 0
        self._store = store
        self._at = at
        self._error = error
        self._after = after

    def _call(self, method: Callable[..., object], *args: object) -> object:
        self.calls += 1
        hit = self.calls == self._at
        if hit and not self._after:
            raise self._error
        result = method(*args)
        if hit:
            raise self._error
        return result

    def read(self, key: str):
        return self._call(self._store.read, key)

    def create(self, key: str, data: bytes):
        return self._call(self._store.create, key, data)

    def replace(self, key: str, data: bytes, etag: str):
        return self._call(self._store.replace, key, data, etag)


class LogMaker:
    """One log key, and writers that share it."""

    def __init__(self) -> None:
        self.private_key = Ed25519PrivateKey.generate()
        self.public_key = self.private_key.public_key().public_bytes_raw()
        self.origin = ORIGIN

    def writer(self, store: LogStore) -> AuditLog:
        return AuditLog(store, self.origin, self.private_key.sign, self.public_key)

    @property
    def vkey(self) -> str:
        return self.writer(MemoryStore()).key.vkey()


@pytest.fixture
def maker() -> LogMaker:
    return LogMaker()


@pytest.fixture
def memory() -> MemoryStore:
    return MemoryStore()


@pytest.fixture
def failing() -> type[FailingStore]:
    return FailingStore


@pytest.fixture
def run_events() -> list[Event]:
    return invented.run_events()


@pytest.fixture
def plan() -> Planned:
    """What the report takes from the run's plan."""
    return invented.planned()


@pytest.fixture
def digest_of() -> Callable[[str], str]:
    return invented.digest
