"""The log's reader: everything is recomputed, and every object that is wrong is named.

What is true is decided by the signed root alone. The entries stand in the log twice (in entry
bundles and in batches) and their hashes a third time (in the tiles of level 0); a leaf is taken
where two of the three agree, and the root over all leaves must be the signed one. Then every
object that a log of these batches consists of is compared with what it has to be, byte by byte:
also the partial tiles and checkpoints of earlier sizes, so that no stored byte goes unchecked.

A batch after the checkpoint is the mark of a writer that is at work or was killed: it is checked
and counted as pending, and the next append completes it.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from audit.errors import (
    AuditError,
    BatchMismatch,
    CheckpointForked,
    LogNotFound,
    LogObjectMissing,
    LogRolledBack,
    RootMismatch,
    StrayObject,
    TileMismatch,
)
from audit.log import CHECKPOINT, GuardedStore
from audit.note import Checkpoint, LogKey, open_checkpoint, parse_vkey
from audit.store import LogStore
from audit.tlog import (
    TILE_WIDTH,
    Edge,
    batch_path,
    copy_path,
    decode_bundle,
    leaf_hash,
    split_hashes,
    tile_path,
)
from errors import StrongroomError


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
class Check:
    """One thing that was checked: what, whether it held, on which object, and why not."""

    name: str
    ok: bool
    object: str
    detail: str = ""


def read_log(
    store: LogStore, vkey: str, origin: str, *, keys: Iterable[str] | None = None
) -> LogView:
    """Check a log completely and return it; raises at the first thing that is wrong.

    ``keys`` lists what is stored under the log's prefix, if the caller can list it: then an
    object that no log writes is an error too. Raises ``LogNotFound``, ``LogUnreadable`` and the
    integrity errors of ``audit.errors``, each naming its object.
    """
    reading = _Reading(store, vkey, origin, keys)
    for finding in reading.run():
        if finding.error is not None:
            raise finding.error
    return reading.view()


def check_log(
    store: LogStore, vkey: str, origin: str, *, keys: Iterable[str] | None = None
) -> list[Check]:
    """The same checks as rows; never stops at the first failure, and names every bad object."""
    rows: list[Check] = []
    try:
        for finding in _Reading(store, vkey, origin, keys).run():
            rows.append(finding.row())
    except StrongroomError as error:
        rows.append(_Finding("log", error.place, error).row())
    return rows


@dataclass(frozen=True)
class _Finding:
    name: str
    place: str
    error: StrongroomError | None = None
    detail: str = ""

    def row(self) -> Check:
        if self.error is None:
            return Check(self.name, True, self.place, self.detail)
        detail = f"{self.error.code}: {self.error.title}"
        if self.error.expected:
            detail += f"; expected {self.error.expected}"
        if self.error.actual:
            detail += f"; found {self.error.actual}"
        return Check(self.name, False, self.place, detail)


class _Reading:
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
        return LogView(
            origin=self._origin,
            vkey=self._key.vkey(),
            size=self._head.size,
            root=self._head.root,
            entries=tuple(self._entries),
            sizes=tuple(self._sizes),
            pending=self._pending,
        )

    def run(self) -> Iterator[_Finding]:
        self._head = self._read_head()
        batches = self._walk()
        self._sizes = [first + count for first, count, _ in batches]
        bundled, bundle_hashes, tile_hashes = self._final_tiles()
        batched = {first + i: entry for first, _, found in batches for i, entry in enumerate(found)}
        self._entries = _majority(bundled, bundle_hashes, tile_hashes, batched, self._head.size)
        edge, _ = Edge().extend(self._entries)
        if edge.size != self._head.size or edge.root() != self._head.root:
            error = RootMismatch(place=CHECKPOINT, expected=self._head.root.hex())
            yield _Finding("checkpoint", CHECKPOINT, error)
        else:
            yield _Finding(
                "checkpoint", CHECKPOINT, detail=f"{edge.size} entries, root {edge.root().hex()}"
            )
        edge = Edge()
        for first, count, found in batches:
            span = self._entries[first : first + count]
            yield self._batch(first, found == span)
            edge, tiles = edge.extend(span)
            yield from self._tiles(tiles)
            yield self._copy(edge)
        yield from self._after(edge)
        if self._keys is not None:
            for key in sorted(self._keys - self._seen):
                yield _Finding("stray", key, StrayObject(place=key))

    def _read_head(self) -> Checkpoint:
        found = self._store.read(CHECKPOINT)
        if found is None:
            begun = self._store.read(batch_path(0)) is not None
            cls = LogObjectMissing if begun else LogNotFound
            raise cls(place=CHECKPOINT)
        return open_checkpoint(found[0], self._key, self._origin, place=CHECKPOINT)

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

    def _final_tiles(self) -> tuple[dict[int, bytes], dict[int, bytes], dict[int, bytes]]:
        """What the tiles at the current size hold, by index: entries, their hashes, hashes."""
        entries: dict[int, bytes] = {}
        tile_hashes: dict[int, bytes] = {}
        for first in range(0, self._head.size, TILE_WIDTH):
            width = min(TILE_WIDTH, self._head.size - first)
            path = tile_path("entries", first // TILE_WIDTH, width)
            if bundle := self._store.read(path):
                # A broken bundle is named later, when it is compared with what it has to be.
                with contextlib.suppress(AuditError):
                    entries.update(enumerate(decode_bundle(bundle[0], path), first))
            if tile := self._store.read(tile_path(0, first // TILE_WIDTH, width)):
                tile_hashes.update(enumerate(split_hashes(tile[0]), first))
        return entries, {i: leaf_hash(entry) for i, entry in entries.items()}, tile_hashes

    def _batch(self, first: int, same: bool) -> _Finding:
        path = batch_path(first)
        self._seen.add(path)
        error: StrongroomError | None = None
        if not same:
            missing = self._store.read(path) is None
            error = LogObjectMissing(place=path) if missing else BatchMismatch(place=path)
        return _Finding("batch", path, error)

    def _tiles(self, tiles: dict[str, bytes], *, required: bool = True) -> Iterator[_Finding]:
        for path, data in tiles.items():
            self._seen.add(path)
            found = self._store.read(path)
            if found is None:
                if required:
                    yield _Finding("tile", path, LogObjectMissing(place=path))
            elif found[0] != data:
                digest = hashlib.sha256(data).hexdigest()
                yield _Finding("tile", path, TileMismatch(place=path, expected=f"sha256 {digest}"))
            else:
                yield _Finding("tile", path)

    def _copy(self, edge: Edge) -> _Finding:
        path = copy_path(edge.size)
        self._seen.add(path)
        note = self._read_copy(edge.size)
        if note is None:
            return _Finding("prefix", path, LogObjectMissing(place=path))
        try:
            copy = open_checkpoint(note, self._key, self._origin, place=path)
        except AuditError as error:
            return _Finding("prefix", path, error)
        if (copy.size, copy.root) != (edge.size, edge.root()):
            return _Finding("prefix", path, CheckpointForked(place=path))
        return _Finding("prefix", path)

    def _after(self, edge: Edge) -> Iterator[_Finding]:
        """What lies beyond the checkpoint: nothing, or one batch that is not finished."""
        first = self._head.size
        path = batch_path(first)
        found = self._read_batch(first)
        if found is None:
            return
        self._seen.add(path)
        if not found:
            yield _Finding("pending", path, BatchMismatch(place=path, expected="an entry bundle"))
            return
        beyond, tiles = edge.extend(found)
        for finding in self._tiles(tiles, required=False):
            if finding.error is not None:
                yield finding
        if self._read_copy(beyond.size) is not None:
            finding = self._copy(beyond)
            if finding.error is not None:
                yield finding
        if self._store.read(batch_path(beyond.size)) is not None:
            yield _Finding(
                "pending",
                CHECKPOINT,
                LogRolledBack(
                    place=CHECKPOINT,
                    expected=f"size {beyond.size} or more",
                    actual=f"size {first}",
                ),
            )
        self._pending = len(found)
        yield _Finding(
            "pending", path, detail=f"{len(found)} entries are not under the checkpoint yet"
        )


def _majority(
    bundled: dict[int, bytes],
    bundle_hashes: dict[int, bytes],
    tile_hashes: dict[int, bytes],
    batched: dict[int, bytes],
    size: int,
) -> list[bytes]:
    """The entries, each from the source that another source bears out."""
    entries: list[bytes] = []
    for index in range(size):
        bundle, batch = bundled.get(index), batched.get(index)
        if bundle is None and batch is None:
            return entries
        doubted = bundle is None or (
            bundle != batch and bundle_hashes[index] != tile_hashes.get(index)
        )
        chosen = batch if doubted and batch is not None else bundle
        entries.append(chosen or b"")
    return entries
