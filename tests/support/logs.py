"""Logs for tests: a versioned store in memory, one that fails on demand, keys and sequencers."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from strongroom.audit.log.copy import LogCopy
from strongroom.audit.log.note import LogKey
from strongroom.audit.log.sequencer import Sequencer
from strongroom.audit.log.store import LogStore, StoredVersion

ORIGIN = "acme-audit/strongroom"


class MemoryStore:
    """A log in memory, atomic and versioned as a bucket is."""

    def __init__(self) -> None:
        self.objects: dict[str, list[tuple[str, bytes | None]]] = {}
        """Versions of each key, the newest last; no bytes for a delete marker."""
        self._counter = 0
        self._lock = threading.Lock()

    def read(self, key: str) -> tuple[bytes, str] | None:
        with self._lock:
            version, data = self.objects.get(key, [("", None)])[-1]
            return None if data is None else (data, version)

    def read_many(self, keys):
        return [None if (found := self.read(key)) is None else found[0] for key in keys]

    def read_versions(self, key, versions):
        return [dict(self.objects.get(key, [])).get(version) for version in versions]

    def versions(self):
        with self._lock:
            objects = sorted((key, list(versions)) for key, versions in self.objects.items())
        for key, versions in objects:
            for version, data in reversed(versions):
                yield StoredVersion(
                    key,
                    version,
                    current=version == versions[-1][0],
                    deleted=data is None,
                    etag=hashlib.md5(data or b"", usedforsecurity=False).hexdigest(),
                    size_bytes=len(data or b""),
                )

    def create(self, key: str, data: bytes) -> bool:
        if self.read(key) is not None:
            return False
        self.put(key, data)
        return True

    def replace(self, key: str, data: bytes, etag: str) -> bool:
        found = self.read(key)
        if found is None or found[1] != etag:
            return False
        self.put(key, data)
        return True

    def put(self, key: str, data: bytes | None) -> None:
        """Write whatever is there; None deletes, as a marker."""
        with self._lock:
            self._counter += 1
            kept = None if data is None else bytes(data)
            self.objects.setdefault(key, []).append((str(self._counter), kept))

    def forget(self, key: str, versions: int = 1) -> None:
        """Remove the newest versions for good, as only an unlocked bucket allows."""
        del self.objects[key][-versions:]
        if not self.objects[key]:
            del self.objects[key]

    def copied(self) -> MemoryStore:
        """The same versions, in a store of their own."""
        other = MemoryStore()
        other.objects = {key: list(versions) for key, versions in self.objects.items()}
        other._counter = self._counter
        return other

    def keys(self) -> list[str]:
        return sorted(key for key in self.objects if self.read(key) is not None)

    def current(self) -> dict[str, bytes]:
        """Every object's bytes."""
        return {key: found[0] for key in self.objects if (found := self.read(key)) is not None}


class FailingStore:
    """Passes calls on, and raises ``error`` at the ``at``-th one, before or after its effect."""

    def __init__(self, store: LogStore, at: int, error: BaseException, *, after: bool) -> None:
        self.calls = 0
        self._store = store
        self._at = at
        self._error = error
        self._after = after

    def __getattr__(self, name: str) -> Callable[..., object]:
        method = getattr(self._store, name)

        def call(*args: object) -> object:
            self.calls += 1
            hit = self.calls == self._at
            if hit and not self._after:
                raise self._error
            result = method(*args)
            if hit:
                raise self._error
            return result

        return call


class LogMaker:
    """One log key, and sequencers on memories of their own."""

    def __init__(self) -> None:
        self.private_key = Ed25519PrivateKey.generate()
        self.origin = ORIGIN
        self.key = LogKey(ORIGIN, self.private_key.public_key().public_bytes_raw())
        self.vkey = self.key.vkey()
        self.signed: list[bytes] = []

    def sign(self, text: bytes) -> bytes:
        self.signed.append(text)
        return self.private_key.sign(text)

    def sequencer(self, store: LogStore, memory: LogCopy | None = None, sign=None) -> Sequencer:
        """One that has started."""
        log = Sequencer(store, memory or LogCopy(), self.key, sign or self.sign)
        log.start()
        return log

    def histories(self) -> dict[int, set[bytes]]:
        """Every root that was signed, by size."""
        found: dict[int, set[bytes]] = {}
        for text in self.signed:
            _, size, root, _ = text.split(b"\n")
            found.setdefault(int(size), set()).add(root)
        return found
