"""Reading a log: its head, and the entries under it, in time that grows with what is new.

What is true is decided by the signed head alone: the entries are those that hash to its root. A
reader that keeps a :class:`~strongroom.audit.log.copy.LogCopy` reads only what came after it, in
full bundles and many at once, and holds the head against it: a head that is older, or that is of
another history, is an error, however well it is signed.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from strongroom.audit.errors import AuditError
from strongroom.audit.log.copy import LogCopy
from strongroom.audit.log.errors import (
    CheckpointForked,
    LogNotFound,
    LogObjectMissing,
    LogRolledBack,
    RootMismatch,
    TileMismatch,
)
from strongroom.audit.log.note import Checkpoint, LogKey, open_checkpoint, parse_vkey, root_text
from strongroom.audit.log.store import CHECKPOINT, GuardedReader, LogReader
from strongroom.audit.log.tlog import (
    TILE_WIDTH,
    Edge,
    covered_paths,
    decode_bundle,
    leaf_hash,
    split_hashes,
    tile_path,
)

_KEY, _NOTE = "key", "note"


@dataclass(frozen=True)
class LogView:
    """A log under a head that was verified; ``copy`` holds its entries, and perhaps later ones."""

    origin: str
    vkey: str
    size: int
    root: bytes
    note: bytes = field(repr=False)
    copy: LogCopy = field(repr=False)

    @property
    def entries(self) -> tuple[bytes, ...]:
        """All entries, in order."""
        return tuple(self.copy.entries(0, self.size))

    def of_run(self, run: str) -> list[tuple[int, bytes]]:
        """The entries of one run, each with its place."""
        return [each for each in self.copy.of_run(run) if each[0] < self.size]


def read_log(reader: LogReader, vkey: str, origin: str, copy: LogCopy | None = None) -> LogView:
    """The log as its head says it is; ``copy`` is what this reader knows of it, and is added to.

    Raises ``LogNotFound``, ``LogUnreadable`` and the integrity errors of ``audit.log.errors``, each
    naming its object: ``LogRolledBack`` and ``CheckpointForked`` where the head contradicts the
    copy.
    """
    key = parse_vkey(vkey)
    store = GuardedReader(reader)
    known = LogCopy() if copy is None else copy
    hold_for(known, key)
    while True:
        seen = known.edge  # before the head, so that others who read on meanwhile raise no alarm
        head, note = read_head(store, key, origin, begun=seen.size > 0)
        check_extends(seen, head)
        if head.size == seen.size:
            break
        entries = read_entries(store, seen.size, head.size)
        edge, _ = seen.extend(entries)
        if edge.root() != head.root:
            raise _culprit(store, seen, head)
        if known.add(entries, edge, {_NOTE: note}):
            break
    return LogView(origin, vkey, head.size, head.root, note, known)


def hold_for(copy: LogCopy, key: LogKey) -> None:
    """Drop what the copy has, unless it is of the log with this key."""
    copy.hold_for(_KEY, key.vkey().encode())


def read_head(
    store: GuardedReader, key: LogKey, origin: str, *, begun: bool = False
) -> tuple[Checkpoint, bytes]:
    """The newest checkpoint, verified, and the note that it stands in.

    Where there is none: ``LogNotFound``, but ``LogObjectMissing`` for a log that was ``begun``, as
    versions of the checkpoint and full tiles tell, too.
    """
    found = store.read(CHECKPOINT)
    if found is None:
        traces = (CHECKPOINT, tile_path(0, 0, TILE_WIDTH))
        begun = begun or any(each.key in traces for each in store.versions())
        raise (LogObjectMissing if begun else LogNotFound)(place=CHECKPOINT)
    return open_checkpoint(found[0], key, origin, place=CHECKPOINT), found[0]


def check_extends(edge: Edge, head: Checkpoint) -> None:
    """A head continues what is known. Raises ``LogRolledBack`` and ``CheckpointForked``."""
    if head.size < edge.size:
        raise LogRolledBack(
            place=CHECKPOINT, expected=f"size {edge.size} or more", actual=f"size {head.size}"
        )
    if head.size == edge.size and head.root != edge.root():
        raise CheckpointForked(place=CHECKPOINT, expected=root_text(edge.root()))


def read_entries(store: GuardedReader, first: int, size: int) -> list[bytes]:
    """Entries ``first … size - 1`` as the bundles of a log of ``size`` entries have them."""
    entries: list[bytes] = []
    wanted = covered_paths(first - first % TILE_WIDTH, size)
    bundles = store.read_many([path for path, _, _ in wanted])
    for (path, at, width), data in zip(wanted, bundles, strict=True):
        entries += _bundle(store, path, at, width, data)[max(first - at, 0) :]
    return entries


def _bundle(
    store: GuardedReader, path: str, at: int, width: int, data: bytes | None
) -> list[bytes]:
    """The entries of one bundle; of a full one where the partial one is gone."""
    if data is None and width < TILE_WIDTH:
        full = store.read(tile_path("entries", at // TILE_WIDTH, TILE_WIDTH))
        data = None if full is None else full[0]
    if data is None:
        raise LogObjectMissing(place=path)
    found = decode_bundle(data, path)
    if len(found) < width:
        raise TileMismatch(place=path, expected=f"{width} entries", actual=f"{len(found)}")
    return found[:width]


def _culprit(store: GuardedReader, seen: Edge, head: Checkpoint) -> AuditError:
    """What made the root differ: the first bundle that its hash tile contradicts, or the head."""
    for path, at, width in covered_paths(seen.size - seen.size % TILE_WIDTH, head.size):
        leaves = [leaf_hash(entry) for entry in read_entries(store, at, at + width)]
        tile = store.read(tile_path(0, at // TILE_WIDTH, width))
        if tile and split_hashes(tile[0]) != leaves:
            return TileMismatch(place=path, expected="the entries of its hash tile")
    if seen.size:
        return CheckpointForked(place=CHECKPOINT, expected=f"what size {seen.size} had")
    return RootMismatch(place=CHECKPOINT, expected=root_text(head.root))


def root_at(copy: LogCopy, size: int) -> bytes:
    """The root of the log's first ``size`` entries, all of which the copy has."""
    if size == copy.size:
        return copy.edge.root()
    return Edge().extend(list(copy.entries(0, size)))[0].root()


def check_prefix(copy: LogCopy, earlier: Checkpoint, place: str) -> None:
    """An earlier checkpoint is of this history. Raises ``LogRolledBack``, ``CheckpointForked``."""
    if earlier.size > copy.size:
        raise LogRolledBack(
            place=place, expected=f"size {earlier.size} or more", actual=f"size {copy.size}"
        )
    if root_at(copy, earlier.size) != earlier.root:
        raise CheckpointForked(place=place, expected=root_text(earlier.root))
