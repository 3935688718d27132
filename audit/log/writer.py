"""The audit log's writer: many writers, one history, no overwrites, no lock.

Objects under the log's prefix, beside the C2SP ones (``checkpoint``, ``tile/…``):

- ``batches/<n>``: the entries that follow a log of ``n`` entries, as an entry bundle. Whoever
  creates this object first decides what comes after entry ``n - 1``; everybody else finishes that
  batch and then proposes their own at the next size.
- ``checkpoints/<size>``: an immutable copy of every checkpoint ever signed.

Order of one append: the batch, entry bundles, hash tiles, the checkpoint's copy, and last the
checkpoint by compare-and-swap. Every object after the batch is a function of the batches before
it, so that two writers, or a writer and the ruins of a crashed one, can only ever write the same
bytes. Why a batch object and not the tiles alone: two writers with batches of different length
would create tiles of different width without noticing each other, and the loser would leave tiles
that nobody may overwrite, and a signed checkpoint that is no prefix of the log. C2SP forbids a
log to sign such a checkpoint.

What holds: an acknowledged entry is in the log exactly once; a refused or interrupted append is in
it whole or not at all; a checkpoint that was rolled back is carried forward again along the
batches, never forked. Entries must differ from each other (events carry random ids): a batch is
recognised by its bytes.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from strongroom.audit.errors import AuditError
from strongroom.audit.log.errors import (
    BatchMismatch,
    CheckpointForked,
    EntryBundleMalformed,
    EntryTooLarge,
    LogBusy,
    LogNotWritable,
    LogObjectMissing,
    LogRolledBack,
    LogUnreadable,
    RootMismatch,
    TileMismatch,
)
from strongroom.audit.log.note import Checkpoint, LogKey, open_checkpoint, sign_checkpoint
from strongroom.audit.log.store import LogStore
from strongroom.audit.log.tlog import (
    Edge,
    batch_path,
    copy_path,
    decode_bundle,
    edge_tiles,
    encode_bundle,
    leaf_hash,
    split_hashes,
    tile_path,
)
from strongroom.errors import StrongroomError

CHECKPOINT = "checkpoint"
BATCH_BYTES_MAX = 16 << 20
MAX_TURNS = 500
"""Other writers' batches that one append lets pass before it gives up."""
MAX_SWAPS = 50
"""Refused swaps of the checkpoint before one append gives up."""


@dataclass(frozen=True)
class Appended:
    """Where a batch went: its first entry's index, and the log's size and root right after it."""

    first_index: int
    size: int
    root: bytes


class AuditLog:
    """A writer of one log; safe to share between threads, and beside other writers.

    ``sign`` returns a raw Ed25519 signature that ``public_key`` (32 bytes) verifies; ``origin`` is
    the log's name, without scheme, spaces and plus signs.
    """

    def __init__(
        self,
        store: LogStore,
        origin: str,
        sign: Callable[[bytes], bytes],
        public_key: bytes,
    ) -> None:
        self.key = LogKey(origin, public_key)
        self._store = GuardedStore(store)
        self._sign = sign
        self._edge: Edge | None = None
        # Batches whose append failed midway, with the edge where they were first tried: they may
        # be in the log already, so that trying again must look for them from there on.
        self._doubtful: dict[bytes, Edge] = {}
        self._turn = threading.Lock()

    def append(self, entries: Sequence[bytes]) -> Appended:
        """Append a batch, atomically and in order; returns when a signed checkpoint covers it.

        Entries are at most 65,534 bytes each and 16 MiB together. After an error the same entries
        can be appended again and are still written once. Raises ``EntryTooLarge``, ``LogBusy``,
        ``LogNotWritable``, ``LogUnreadable``, ``SignerMismatch``, or an integrity error when
        what is stored is not this log; errors of ``sign`` pass through.
        """
        batch = encode_bundle(entries)
        if not batch or len(batch) > BATCH_BYTES_MAX:
            raise EntryTooLarge(
                place="append",
                expected=f"1 to {BATCH_BYTES_MAX} bytes in all",
                actual=f"{len(batch)} bytes",
            )
        name = hashlib.sha256(batch).digest()
        with self._turn:
            edge = self._doubtful.get(name) or self._edge or self._load()
            self._doubtful[name] = edge
            appended = self._append(batch, edge)
            del self._doubtful[name]
            return appended

    def finish(self) -> None:
        """Complete the batches that killed writers left: what they decided is then in the log.

        For whoever reads a log in order to decide what to append. Raises what ``append`` does;
        a log of which this writer saw more before is not carried forward but refused.
        """
        with self._turn:
            edge = self._load()
            if self._edge is not None and edge.size < self._edge.size:
                raise LogRolledBack(
                    place=CHECKPOINT,
                    expected=f"size {self._edge.size}",
                    actual=f"size {edge.size}",
                )
            for _ in range(MAX_TURNS):
                here = batch_path(edge.size)
                left = self._store.read(here)
                if left is None:
                    return
                after, tiles = edge.extend(_decode_batch(left[0], here))
                self._commit(edge, after, tiles)
                edge = after
        raise LogBusy(place=self.key.name, actual=f"{MAX_TURNS} batches by other writers")

    def _append(self, batch: bytes, edge: Edge) -> Appended:
        committed = edge.size
        turns = 0
        while turns < MAX_TURNS:
            here = batch_path(edge.size)
            tried = edge.size >= committed
            created = tried and self._store.create(here, batch)
            winner = batch if created else self._store.must_read(here)
            after, tiles = edge.extend(_decode_batch(winner, here))
            if after.size > committed:
                committed = self._commit(edge, after, tiles)
            if self._edge is None or after.size > self._edge.size:
                self._edge = after
            if winner == batch:
                if after.size < committed:
                    self._check_copy(after)
                return Appended(edge.size, after.size, after.root())
            edge = after
            turns += tried
        raise LogBusy(place=self.key.name, actual=f"{turns} batches by other writers")

    def _commit(self, before: Edge, after: Edge, tiles: dict[str, bytes]) -> int:
        """Make ``after`` part of the checkpoint, and return the size that it now has."""
        for _ in range(MAX_SWAPS):
            head, etag = self._head()
            if head is not None and head.size >= after.size:
                if head.size == after.size and head.root != after.root():
                    raise CheckpointForked(place=CHECKPOINT, expected=after.root().hex())
                return head.size
            self._agree(head, before)
            for path, data in tiles.items():
                self._create_same(path, data)
            checkpoint = Checkpoint(self.key.name, after.size, after.root())
            note = sign_checkpoint(checkpoint, self.key.public_key, self._sign)
            if not self._store.create(copy_path(after.size), note):
                self._check_copy(after)
            # Won or lost, the batch has decided what follows; all that matters is that it is in.
            if head is None:
                swapped = self._store.create(CHECKPOINT, note)
            else:
                swapped = self._store.replace(CHECKPOINT, note, etag)
            if swapped:
                return after.size
        raise LogBusy(place=CHECKPOINT, actual=f"{MAX_SWAPS} refused swaps")

    def _agree(self, head: Checkpoint | None, edge: Edge) -> None:
        """The stored checkpoint is the one that this writer built on."""
        size = 0 if head is None else head.size
        if size < edge.size:
            raise LogRolledBack(
                place=CHECKPOINT, expected=f"size {edge.size}", actual=f"size {size}"
            )
        if head is not None and head.root != edge.root():
            raise CheckpointForked(place=CHECKPOINT, expected=edge.root().hex())

    def _head(self) -> tuple[Checkpoint | None, str]:
        found = self._store.read(CHECKPOINT)
        if found is None:
            return None, ""
        note, etag = found
        return open_checkpoint(note, self.key, self.key.name, place=CHECKPOINT), etag

    def _load(self) -> Edge:
        """The edge under the stored checkpoint, checked against its root."""
        head, _ = self._head()
        if head is None:
            return Edge()
        levels: list[bytes] = []
        for level, path, _width in edge_tiles(head.size):
            levels += [b""] * (level - len(levels))
            levels.append(self._store.must_read(path))
        tail: list[bytes] = []
        if width := head.size % 256:
            path = tile_path("entries", head.size // 256, width)
            tail = decode_bundle(self._store.must_read(path), path)
            if [leaf_hash(entry) for entry in tail] != split_hashes(levels[0]):
                raise TileMismatch(place=path, expected="the entries of the level 0 tile")
        edge = Edge(head.size, tuple(levels), tuple(tail))
        if edge.root() != head.root:
            raise RootMismatch(place=CHECKPOINT, expected=head.root.hex())
        return edge

    def _create_same(self, path: str, data: bytes) -> None:
        if not self._store.create(path, data) and self._store.must_read(path) != data:
            raise TileMismatch(place=path, expected=f"sha256 {hashlib.sha256(data).hexdigest()}")

    def _check_copy(self, edge: Edge) -> None:
        path = copy_path(edge.size)
        note = self._store.must_read(path)
        copy = open_checkpoint(note, self.key, self.key.name, place=path)
        if (copy.size, copy.root) != (edge.size, edge.root()):
            raise CheckpointForked(place=path, expected=edge.root().hex())


def _decode_batch(batch: bytes, path: str) -> list[bytes]:
    try:
        entries = decode_bundle(batch, path)
    except EntryBundleMalformed as error:
        raise BatchMismatch(place=path, expected="an entry bundle") from error
    if not entries:
        raise BatchMismatch(place=path, expected="an entry", actual="none")
    return entries


class GuardedStore:
    """A store whose failures are audit errors: what went wrong by code, never by its text."""

    def __init__(self, store: LogStore) -> None:
        self._store = store

    def read(self, key: str) -> tuple[bytes, str] | None:
        """As ``LogStore.read``; raises ``LogUnreadable``."""
        try:
            return self._store.read(key)
        except Exception as error:
            raise LogUnreadable(place=key, actual=_cause(error)) from error

    def must_read(self, key: str) -> bytes:
        """The bytes of an object that has to exist; raises ``LogObjectMissing``."""
        found = self.read(key)
        if found is None:
            raise LogObjectMissing(place=key)
        return found[0]

    def create(self, key: str, data: bytes) -> bool:
        """As ``LogStore.create``; raises ``LogNotWritable``."""
        try:
            return self._store.create(key, data)
        except Exception as error:
            raise LogNotWritable(place=key, actual=_cause(error)) from error

    def replace(self, key: str, data: bytes, etag: str) -> bool:
        """As ``LogStore.replace``; raises ``LogNotWritable``."""
        try:
            return self._store.replace(key, data, etag)
        except Exception as error:
            raise LogNotWritable(place=key, actual=_cause(error)) from error


def _cause(error: Exception) -> str:
    if isinstance(error, AuditError):
        raise error
    if isinstance(error, StrongroomError):
        return f"{error.code} ({error.title})"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return type(error).__name__
