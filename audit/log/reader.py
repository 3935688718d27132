"""One pass over a log: what is true, and which objects differ from it.

What is true is decided by the signed root alone. The entries stand in the log twice (in entry
bundles and in batches) and their hashes a third time (in the tiles of level 0); of these, or of
what two of the three agree on leaf by leaf, the one that hashes to the signed root is true. Then
every object that a log of these batches consists of is compared with what it has to be, byte by
byte: also the partial tiles and checkpoints of earlier sizes, so that no stored byte goes
unchecked.

A batch after the checkpoint is the mark of a writer that is at work or was killed. Once a copy
of the checkpoint that covers it is signed, the batch is part of the log, whatever the checkpoint
says; before that it is checked and counted as pending, and the next append completes it. At most
one signed copy can be ahead of the checkpoint: two mean that it was taken back.
"""

from __future__ import annotations

import contextlib
import hashlib
import secrets
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from strongroom.audit.errors import AuditError
from strongroom.audit.log.errors import (
    BatchMismatch,
    CheckpointForked,
    LogNotFound,
    LogObjectMissing,
    LogRolledBack,
    RootMismatch,
    StrayObject,
    TileMismatch,
)
from strongroom.audit.log.note import Checkpoint, LogKey, open_checkpoint, parse_vkey
from strongroom.audit.log.store import LogStore
from strongroom.audit.log.tlog import (
    TILE_WIDTH,
    Edge,
    batch_path,
    copy_path,
    decode_bundle,
    leaf_hash,
    split_hashes,
    subtree_root,
    tile_path,
)
from strongroom.audit.log.writer import CHECKPOINT, GuardedStore
from strongroom.errors import StrongroomError


@dataclass(frozen=True)
class LogView:
    """A log in which everything was checked.

    ``sizes`` are the sizes at which a checkpoint was signed, ascending; ``pending`` counts the
    entries of a batch that no checkpoint covers yet (they are not in ``entries``).
    """

    origin: str
    vkey: str
    size: int
    root: bytes
    entries: tuple[bytes, ...] = field(repr=False)
    sizes: tuple[int, ...] = field(repr=False)
    pending: int = 0


@dataclass(frozen=True)
class Finding:
    """One object that was looked at; ``error`` is what is wrong with it, if anything."""

    name: str
    place: str
    error: StrongroomError | None = None
    detail: str = ""


class Reading:
    """One pass over a log, yielding a finding for each object."""

    def __init__(self, store: LogStore, vkey: str, origin: str, keys: Iterable[str] | None) -> None:
        self._store = GuardedStore(store)
        self._key: LogKey = parse_vkey(vkey)
        self._origin = origin
        self._keys = None if keys is None else set(keys)
        self._seen = {CHECKPOINT}
        self._copies: dict[int, bytes | None] = {}
        self._head = Checkpoint(origin, 0, b"")
        self._entries: list[bytes] = []
        self._sizes: list[int] = []
        self._pending = 0

    def view(self) -> LogView:
        """The log as read; means something only after ``run`` found nothing wrong."""
        return LogView(
            origin=self._origin,
            vkey=self._key.vkey(),
            size=self._head.size,
            root=self._head.root,
            entries=tuple(self._entries),
            sizes=tuple(self._sizes),
            pending=self._pending,
        )

    def run(self) -> Iterator[Finding]:
        """Findings, one for each object; raises where nothing at all can be said."""
        stored = self._read_head()
        self._head, ahead = self._newest_signed(stored)
        if ahead > 1 and self._read_head().size <= stored.size:
            yield self._rolled_back(stored.size, self._head.size)
        batches = self._walk()
        self._sizes = [first + count for first, count, _ in batches]
        leaves, self._entries = self._decide(batches)
        edge, _ = Edge().extend(self._entries, leaves)
        if edge.size != self._head.size or edge.root() != self._head.root:
            error = RootMismatch(place=CHECKPOINT, expected=self._head.root.hex())
            yield Finding("checkpoint", CHECKPOINT, error)
        else:
            yield Finding(
                "checkpoint", CHECKPOINT, detail=f"{edge.size} entries, root {edge.root().hex()}"
            )
        edge = Edge()
        for first, count, found in batches:
            span = slice(first, first + count)
            yield self._batch(first, found == self._entries[span])
            edge, tiles = edge.extend(self._entries[span], leaves[span])
            yield from self._tiles(tiles)
            yield self._copy(edge)
            if edge.size == stored.size and edge.root() != stored.root:
                yield Finding("checkpoint", CHECKPOINT, CheckpointForked(place=CHECKPOINT))
        yield from self._after(edge)
        if self._keys is not None:
            for key in sorted(self._keys - self._seen):
                yield Finding("stray", key, StrayObject(place=key))

    def _read_head(self) -> Checkpoint:
        found = self._store.read(CHECKPOINT)
        if found is None:
            begun = self._store.read(batch_path(0)) is not None
            cls = LogObjectMissing if begun else LogNotFound
            raise cls(place=CHECKPOINT)
        return open_checkpoint(found[0], self._key, self._origin, place=CHECKPOINT)

    def _newest_signed(self, head: Checkpoint) -> tuple[Checkpoint, int]:
        """The checkpoint of the last batch whose copy is signed, and how many batches it is
        ahead of ``head``."""
        ahead = 0
        while batch := self._read_batch(head.size):
            size = head.size + len(batch)
            note = self._read_copy(size)
            try:
                copy = open_checkpoint(note or b"", self._key, self._origin, place=copy_path(size))
            except AuditError:
                break
            if copy.size != size:
                break
            head, ahead = copy, ahead + 1
        return head, ahead

    def _rolled_back(self, stored: int, signed: int) -> Finding:
        error = LogRolledBack(
            place=CHECKPOINT, expected=f"size {signed} or more", actual=f"size {stored}"
        )
        return Finding("checkpoint", CHECKPOINT, error)

    def _walk(self) -> list[tuple[int, int, list[bytes]]]:
        """The batches up to the checkpoint as (first index, count, entries as stored).

        Where a batch is unreadable, or neither a checkpoint nor a batch stands at its end, the
        next copy of a checkpoint tells where it must have ended.
        """
        batches: list[tuple[int, int, list[bytes]]] = []
        at = 0
        while at < self._head.size:
            found = self._read_batch(at) or []
            end = at + len(found)
            if end == at or end > self._head.size or not self._is_boundary(end):
                later = range(at + 1, self._head.size)
                end = next((size for size in later if self._read_copy(size)), self._head.size)
            batches.append((at, end - at, found))
            at = end
        return batches

    def _is_boundary(self, size: int) -> bool:
        return (
            size == self._head.size
            or self._read_copy(size) is not None
            or self._store.read(batch_path(size)) is not None
        )

    def _read_copy(self, size: int) -> bytes | None:
        """The checkpoint's copy at ``size``; kept, since the walk and the check both need it."""
        if size not in self._copies:
            found = self._store.read(copy_path(size))
            self._copies[size] = None if found is None else found[0]
        return self._copies[size]

    def _read_batch(self, first: int) -> list[bytes] | None:
        found = self._store.read(batch_path(first))
        if found is None:
            return None
        try:
            return decode_bundle(found[0], batch_path(first))
        except AuditError:
            return []

    def _decide(
        self, batches: list[tuple[int, int, list[bytes]]]
    ) -> tuple[list[bytes], list[bytes]]:
        """The true leaf hashes, and the entries that have them."""
        bundled, tiled = self._final_tiles()
        batched = {first + i: entry for first, _, found in batches for i, entry in enumerate(found)}
        by_bundle = {index: leaf_hash(entry) for index, entry in bundled.items()}
        by_batch = {index: leaf_hash(entry) for index, entry in batched.items()}
        indices = range(self._head.size)
        agreed = {
            index: by_batch[index]
            if index in by_batch and by_batch[index] in (by_bundle.get(index), tiled.get(index))
            else by_bundle.get(index, b"")
            for index in indices
        }
        candidates = [
            [source.get(i, b"") for i in indices] for source in (by_bundle, by_batch, tiled)
        ]
        leaves = [agreed[i] for i in indices]
        for candidate in candidates:
            if subtree_root(candidate) == self._head.root:
                leaves = candidate
                break
        entries: list[bytes] = []
        for index, leaf in enumerate(leaves):
            if by_bundle.get(index) == leaf:
                entries.append(bundled[index])
            elif by_batch.get(index) == leaf:
                entries.append(batched[index])
            else:
                # Lost in both places: stand-in bytes that equal neither, so that both are named.
                entries.append(secrets.token_bytes(32))
        return leaves, entries

    def _final_tiles(self) -> tuple[dict[int, bytes], dict[int, bytes]]:
        """What the tiles at the current size hold, by index: entries, and leaf hashes."""
        entries: dict[int, bytes] = {}
        hashes: dict[int, bytes] = {}
        for first in range(0, self._head.size, TILE_WIDTH):
            width = min(TILE_WIDTH, self._head.size - first)
            path = tile_path("entries", first // TILE_WIDTH, width)
            if bundle := self._store.read(path):
                # A broken bundle is named later, when it is compared with what it has to be.
                with contextlib.suppress(AuditError):
                    entries.update(enumerate(decode_bundle(bundle[0], path)[:width], first))
            if tile := self._store.read(tile_path(0, first // TILE_WIDTH, width)):
                hashes.update(enumerate(split_hashes(tile[0])[:width], first))
        return entries, hashes

    def _batch(self, first: int, same: bool) -> Finding:
        path = batch_path(first)
        self._seen.add(path)
        error: StrongroomError | None = None
        if not same:
            missing = self._store.read(path) is None
            error = LogObjectMissing(place=path) if missing else BatchMismatch(place=path)
        return Finding("batch", path, error)

    def _tiles(self, tiles: dict[str, bytes], *, required: bool = True) -> Iterator[Finding]:
        for path, data in tiles.items():
            self._seen.add(path)
            found = self._store.read(path)
            if found is None:
                if required:
                    yield Finding("tile", path, LogObjectMissing(place=path))
            elif found[0] != data:
                digest = hashlib.sha256(data).hexdigest()
                yield Finding("tile", path, TileMismatch(place=path, expected=f"sha256 {digest}"))
            else:
                yield Finding("tile", path)

    def _copy(self, edge: Edge) -> Finding:
        path = copy_path(edge.size)
        self._seen.add(path)
        note = self._read_copy(edge.size)
        if note is None:
            return Finding("prefix", path, LogObjectMissing(place=path))
        try:
            copy = open_checkpoint(note, self._key, self._origin, place=path)
        except AuditError as error:
            return Finding("prefix", path, error)
        if (copy.size, copy.root) != (edge.size, edge.root()):
            return Finding("prefix", path, CheckpointForked(place=path))
        return Finding("prefix", path)

    def _after(self, edge: Edge) -> Iterator[Finding]:
        """What lies beyond the checkpoint: nothing, or one batch that is not finished."""
        first = self._head.size
        path = batch_path(first)
        found = self._read_batch(first)
        if found is None:
            return
        self._seen.add(path)
        if not found:
            yield Finding("pending", path, BatchMismatch(place=path, expected="an entry bundle"))
            return
        beyond, tiles = edge.extend(found)
        for finding in self._tiles(tiles, required=False):
            if finding.error is not None:
                yield finding
        if self._read_copy(beyond.size) is not None:
            finding = self._copy(beyond)
            if finding.error is not None:
                yield finding
        # A second batch means that the first one's checkpoint was signed: by now, if writers are at
        # work, it stands; and if it still does not, it was taken back.
        more = self._store.read(batch_path(beyond.size)) is not None
        if more and self._read_head().size <= first:
            yield self._rolled_back(first, beyond.size)
        self._pending = len(found)
        yield Finding(
            "pending", path, detail=f"{len(found)} entries are not under the checkpoint yet"
        )
