"""One interface to buckets: read by range, create once, replace by comparison, list; no delete.

Invariants: ``create`` never overwrites and ``replace`` never loses another writer's version, also
when many race; a failed write leaves no object; memory is constant for streams in both
directions; every failure is a ``BucketError`` whose place is the object's address.
Keys are whole keys in the bucket (``Location.key``), whatever prefix a bucket was opened with.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from typing_extensions import Buffer

MAX_GET_BYTES = 64 << 20
CHUNK_BYTES = 4 << 20


@dataclass(frozen=True)
class ObjectInfo:
    """One version of one object. ``etag`` is opaque; it names the version to ``replace``."""

    key: str
    size_bytes: int
    etag: str


@dataclass(frozen=True)
class ObjectVersion:
    """One version of an object as a listing tells it, or a mark that it was deleted."""

    key: str
    version: str
    """The store's name for it; empty where the store keeps none."""
    current: bool
    deleted: bool
    etag: str
    size_bytes: int


class Bucket(Protocol):
    """What Strongroom needs of a store. Safe to use from several threads."""

    def head(self, key: str) -> ObjectInfo:
        """Size and version of an object. Raises ``ObjectMissing``."""

    def get(self, key: str, max_bytes: int = MAX_GET_BYTES) -> tuple[bytes, str]:
        """A whole small object and its etag. Raises ``ObjectTooLarge`` before it reads more."""

    def get_version(self, key: str, version: str, max_bytes: int = MAX_GET_BYTES) -> bytes:
        """A whole small object as it was. Raises ``ObjectMissing`` and ``ObjectTooLarge``."""

    def get_range(self, key: str, start: int, length: int) -> bytes:
        """Exactly ``length`` bytes from ``start``. Raises ``RangeOutside`` rather than give less.

        No bytes (``length`` 0) are given without asking the store.
        """

    def stream(self, key: str, chunk_bytes: int = CHUNK_BYTES) -> Iterator[Buffer]:
        """The object in chunks, at most two of them in memory: the next one is read ahead.

        All chunks are of one version and add up to its size; if the object changes meanwhile,
        ``ObjectChanged`` is raised. Each chunk is a request of its own, so that a stream of any
        length outlives the credentials that it began with.
        """

    def create(self, key: str, data: Buffer | Iterable[Buffer]) -> str:
        """Write a new object of any size and give its etag. Raises ``ObjectExists``.

        The object appears whole or not at all. When the answer to a write gets lost and the
        write is sent again, ``ObjectExists`` can be about the caller's own object: compare.
        """

    def replace(self, key: str, data: Buffer, etag: str) -> str:
        """Write over the version ``etag`` and give the new etag. Raises ``ObjectChanged``.

        A missing object has changed, too. On S3 an etag is a digest of the content, so a
        change there and back again is not seen.
        """

    def list(self, prefix: str) -> Iterator[ObjectInfo]:
        """All objects below ``prefix``, which is empty or ends in ``/``. Raises ``UriInvalid``."""

    def versions(self, prefix: str) -> Iterator[ObjectVersion]:
        """Every version below ``prefix`` by key, of each key the newest first."""
