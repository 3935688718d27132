"""Checking a stored log: everything under its head is recomputed, and every bad object is named.

:func:`read_log` raises at the first thing that is wrong; :func:`check_log` goes on and reports all.
What lies under the log's prefix and is not in the log is named, too, and is no failure of the log:
whoever can write there could otherwise make every log fail for ever.

What was there first is read first: what this reader saw before, then the listing, then the head.
So a log that grows meanwhile is only ever longer than what it is held against.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from strongroom.audit.errors import AuditError
from strongroom.audit.log.beside import Beside, md5_of
from strongroom.audit.log.copy import LogCopy
from strongroom.audit.log.errors import (
    CheckpointForked,
    LogCopyDamaged,
    LogRolledBack,
    RootMismatch,
)
from strongroom.audit.log.note import (
    Checkpoint,
    LogKey,
    WitnessKey,
    check_cosignatures,
    open_checkpoint,
    parse_vkey,
    root_text,
)
from strongroom.audit.log.reader import LogView, check_extends, hold_for, read_head, read_log
from strongroom.audit.log.store import CHECKPOINT, GuardedReader, LogReader, StoredVersion
from strongroom.audit.log.tlog import Edge, roots_at
from strongroom.audit.log.tree import StoredTree
from strongroom.errors import StrongroomError

__all__ = ["COMPLETE", "Check", "LogView", "check_log", "read_log"]

COMPLETE = "The run is complete"
"""Name of the one check that fails for a run that is intact as far as it came."""


@dataclass(frozen=True)
class Check:
    """One thing that was checked: what, whether it held, on which object, and why not.

    ``noted`` is for what holds and a reader ought to know all the same.
    """

    name: str
    ok: bool
    object: str
    detail: str = ""
    noted: bool = False


def check_log(
    reader: LogReader,
    vkey: str,
    origin: str,
    copy: LogCopy | None = None,
    *,
    since: Mapping[str, bytes] | None = None,
    witnesses: Sequence[WitnessKey] = (),
) -> tuple[list[Check], LogView | None]:
    """Every check of a log, and the log if its entries hash to its signed root.

    ``copy`` is what this reader saw before, ``since`` are checkpoints that somebody kept, by where
    they come from: the log has to extend them all. ``witnesses`` must have signed the checkpoint,
    or those of ``since``. Raises ``KeyMalformed`` and ``LogCopyDamaged`` only.
    """
    key = parse_vkey(vkey)
    known = LogCopy() if copy is None else copy
    hold_for(known, key)
    checking = _Checking(GuardedReader(reader), key, origin, known)
    try:
        checking.run(since or {}, witnesses)
    except LogCopyDamaged:
        raise
    except StrongroomError as error:
        checking.failed("log", error)
    return checking.rows, checking.view


def failure(name: str, error: StrongroomError) -> Check:
    """A check that failed with an error."""
    detail = f"{error.code}: {error.title}"
    if error.expected:
        detail += f"; expected {error.expected}"
    if error.actual:
        detail += f"; found {error.actual}"
    return Check(name, False, error.place, detail)


@dataclass(frozen=True)
class _Earlier:
    """A checkpoint that the head has to extend, and where it was found."""

    place: str
    version: str
    size: int
    root: bytes | None
    """None for one that the copy knows to be of its history."""


class _Checking:
    def __init__(self, store: GuardedReader, key: LogKey, origin: str, copy: LogCopy) -> None:
        self.rows: list[Check] = []
        self.view: LogView | None = None
        self._store = store
        self._key = key
        self._origin = origin
        self._copy = copy

    def failed(self, name: str, error: StrongroomError) -> None:
        self.rows.append(failure(name, error))

    def holds(self, name: str, place: str, detail: str = "", *, noted: bool = False) -> None:
        self.rows.append(Check(name, True, place, detail, noted))

    def run(self, since: Mapping[str, bytes], witnesses: Sequence[WitnessKey]) -> None:
        seen = self._copy.edge
        listing = self._store.versions()
        head, note = read_head(self._store, self._key, self._origin, begun=bool(seen.size or since))
        kept = self._open_kept(since)
        tree = StoredTree(self._store, head)
        if not self._remembered(seen, head, roots_at(tree.leaves, [seen.size])):
            # The rest is checked as for somebody who never saw the log.
            seen, self._copy = Edge(), LogCopy()
        if tree.levels is None:
            self.failed("checkpoint", RootMismatch(place=CHECKPOINT, expected=root_text(head.root)))
            for _, error in tree.contradicted():
                self.failed("tile", error)
        else:
            detail = f"{head.size} entries, root {head.text().decode().splitlines()[2]}"
            self.holds("checkpoint", CHECKPOINT, detail)
            versions = self._signed_versions(listing)
            roots = roots_at(tree.leaves, [each.size for each in (*kept, *versions)])
            self._hold_kept(kept, head, roots)
            self._hold_versions(versions, head, roots)
            if self._contents(tree):
                self._beside(tree, listing)
                self._take(seen, tree, note)
        self._witnessed(since or {CHECKPOINT: note}, witnesses)

    def _remembered(self, seen: Edge, head: Checkpoint, roots: Mapping[int, bytes]) -> bool:
        try:
            check_extends(seen, head)
            if roots.get(seen.size, seen.root()) != seen.root():
                raise CheckpointForked(place=CHECKPOINT, expected=f"what size {seen.size} had")
        except AuditError as error:
            self.failed("remembered", error)
            return False
        if seen.size:
            self.holds("remembered", CHECKPOINT, f"extends size {seen.size}, seen before")
        return True

    def _contents(self, tree: StoredTree) -> bool:
        """Every object under the head; whether all entries were found."""
        whole = True
        for path, error in tree.checked():
            if error is None:
                self.holds("tile", path)
            else:
                self.failed("tile", error)
                whole = whole and not path.startswith("tile/entries/")
        return whole

    def _take(self, seen: Edge, tree: StoredTree, note: bytes) -> None:
        edge = tree.edge()
        if tree.size > seen.size and not self._copy.add(
            tree.entries(seen.size), edge, {"note": note}
        ):
            self._copy = LogCopy()  # somebody else reads on in the same copy, and is ahead
            self._copy.add(tree.entries(), edge)
        self.view = LogView(
            self._origin, self._key.vkey(), tree.size, edge.root(), note, self._copy
        )

    def _open_kept(self, since: Mapping[str, bytes]) -> list[_Earlier]:
        found = []
        for place, note in since.items():
            try:
                kept = open_checkpoint(note, self._key, self._origin, place=place)
            except AuditError as error:
                self.failed("earlier checkpoint", error)
            else:
                found.append(_Earlier(place, "", kept.size, kept.root))
        return found

    def _hold_kept(
        self, kept: Sequence[_Earlier], head: Checkpoint, roots: Mapping[int, bytes]
    ) -> None:
        for each in kept:
            try:
                _check_earlier(each, head, roots)
            except AuditError as error:
                self.failed("earlier checkpoint", error)
            else:
                self.holds("earlier checkpoint", each.place, f"size {each.size} is a prefix")

    def _witnessed(self, notes: Mapping[str, bytes], witnesses: Sequence[WitnessKey]) -> None:
        for place, note in notes.items() if witnesses else ():
            try:
                found = check_cosignatures(note, witnesses, place=place)
            except AuditError as error:
                self.failed("witnesses", error)
            else:
                self.holds("witnesses", place, ", ".join(sorted(found)))

    def _beside(self, tree: StoredTree, listing: Sequence[StoredVersion]) -> None:
        beside = Beside(tree, listing)
        for key, count in beside.written_over.items():
            self.holds("written over", key, count, noted=True)
        for key, count in beside.foreign.items():
            self.holds("not in the log", key, count, noted=True)
        if beside.superseded:
            self.holds("superseded", CHECKPOINT, f"{beside.superseded} objects of earlier sizes")

    def _signed_versions(self, listing: Sequence[StoredVersion]) -> list[_Earlier]:
        """The signed versions of the checkpoint, the newest first; the others are named.

        One that is the very bytes of another is read once: who puts an old checkpoint back a
        thousand times hides no newer one behind them.
        """
        known = self._copy.checkpoints()
        versions = [each for each in listing if each.key == CHECKPOINT]
        unread = {_same(each): each for each in reversed(versions) if not each.deleted}
        unread = {same: each for same, each in unread.items() if same not in known}
        notes = self._store.read_versions(CHECKPOINT, [each.version for each in unread.values()])
        read = dict(zip(unread, notes, strict=True))
        found: list[_Earlier] = []
        for each in versions:
            place = f"{CHECKPOINT}?versionId={each.version}" if each.version else CHECKPOINT
            if each.deleted:
                self.holds("not in the log", place, "a delete marker", noted=True)
            elif _same(each) in known:
                found.append(_Earlier(place, _same(each), known[_same(each)], None))
            else:
                try:
                    signed = open_checkpoint(
                        read[_same(each)] or b"", self._key, self._origin, place=place
                    )
                except AuditError as error:
                    self.holds("not in the log", place, error.title, noted=True)
                else:
                    found.append(_Earlier(place, _same(each), signed.size, signed.root))
        return found

    def _hold_versions(
        self, versions: Sequence[_Earlier], head: Checkpoint, roots: Mapping[int, bytes]
    ) -> None:
        """None is longer than the head or of another history; where one came after a longer one,
        somebody had rolled the log back."""
        held: dict[str, int] = {}
        for each in versions:
            try:
                _check_earlier(each, head, roots)
            except AuditError as error:
                self.failed("checkpoint", error)
            else:
                held[each.version] = each.size
        if held:
            self.holds("prefix", CHECKPOINT, f"{len(held)} versions")
            self._copy.add_checkpoints(held)
        for newer, older in pairwise(versions):
            if newer.size < older.size <= head.size:
                detail = f"to size {newer.size} from {older.size}, and put right since"
                self.holds("rolled back", newer.place, detail, noted=True)


def _check_earlier(earlier: _Earlier, head: Checkpoint, roots: Mapping[int, bytes]) -> None:
    """An earlier checkpoint is of this history. Raises ``LogRolledBack``, ``CheckpointForked``."""
    if earlier.size > head.size:
        raise LogRolledBack(
            place=earlier.place,
            expected=f"size {earlier.size} or more, which this has",
            actual=f"size {head.size}",
        )
    if earlier.root is not None and roots[earlier.size] != earlier.root:
        raise CheckpointForked(place=earlier.place, expected=root_text(roots[earlier.size]))


def _same(stored: StoredVersion) -> str:
    """What versions with the same bytes have in common; of one whose MD5 is not told its name."""
    return md5_of(stored) or f"{stored.version} {stored.etag}"
