"""The log's one sequencer: what it has not taken in is not in the log.

A :class:`Sequencer` belongs to the releaser, which holds the log's key. Its memory is a
:class:`~strongroom.audit.log.copy.LogCopy`: entries go in there first, in one durable transaction,
and whatever is in there will be signed, now or after a restart. So two trees of one size are never
signed, wherever a crash falls. The bucket is where readers find the log, and is believed nothing:
an object that differs from what the memory says is written over (a versioned bucket keeps it),
whoever wrote it.

Order of one commit: memory, claim, entry bundles, hash tiles, signature, checkpoint.

The claim, ``next/<n>``, keeps two releasers with copies of one memory apart: whoever creates it
decides what follows entry ``n - 1``, and the other one stops before it signs. It carries a MAC
under a secret of the memory, so that nobody else's object passes for one. A second releaser on the
same key with a memory of its own stops at its first look, since it finds a log that it does not
remember.

Appends from several threads are committed together: while one commit is under way, those that
arrive wait, and the first of them commits for all.
"""

from __future__ import annotations

import hmac
import secrets
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from strongroom.audit.errors import AuditError
from strongroom.audit.log.copy import LogCopy
from strongroom.audit.log.errors import (
    CheckpointForked,
    EntryTooLarge,
    LogCopyDamaged,
    LogMemoryDamaged,
    LogMemoryLost,
    LogNotWritable,
    LogOfAnotherReleaser,
)
from strongroom.audit.log.note import Checkpoint, LogKey, open_checkpoint, sign_checkpoint
from strongroom.audit.log.store import CHECKPOINT, GuardedStore, LogStore
from strongroom.audit.log.tlog import Edge, claim_path, covered, encode_bundle

COMMIT_BYTES_MAX = 16 << 20
_SECRET, _PUBLISHED = "secret", "published"
_MAX_SWAPS = 20


@dataclass(frozen=True)
class Appended:
    """Where entries went: the place of the first, and the log's size and root after the commit."""

    first: int
    size: int
    root: bytes


@dataclass
class _Waiting:
    entries: tuple[bytes, ...]
    appended: Appended | None = None
    error: BaseException | None = None


class Sequencer:
    """Appends to one log; safe to share between threads.

    ``sign`` returns a raw Ed25519 signature that ``key`` verifies; ``memory`` is this sequencer's
    alone. :meth:`start` comes first.
    """

    def __init__(
        self, store: LogStore, memory: LogCopy, key: LogKey, sign: Callable[[bytes], bytes]
    ) -> None:
        self.key = key
        self.memory = memory
        self._store = GuardedStore(store)
        self._sign = sign
        self._queue: list[_Waiting] = []
        self._queue_lock = threading.Lock()
        self._commit_lock = threading.Lock()
        self._published = 0
        """Size of the last checkpoint that was put into the bucket."""
        self._tag: str | None = None
        """Of the checkpoint in the bucket; None where there is none."""

    def start(self) -> None:
        """Hold the bucket against the memory; publish what a crash kept back, mend what differs.

        Raises ``LogMemoryLost`` when the bucket holds a log that the memory does not, or a longer
        one, ``CheckpointForked`` when it holds one that differs, ``LogOfAnotherReleaser``, and
        ``LogMemoryDamaged`` when the memory contradicts itself.
        """
        with self._commit_lock:
            try:
                entries = list(self.memory.entries(0, self.memory.size))
            except LogCopyDamaged as error:
                raise LogMemoryDamaged(place=self.key.name, actual=error.actual) from None
            if self.memory.fact(_SECRET) is None:
                self.memory.set_fact(_SECRET, secrets.token_bytes(32))
            self._published = int(self.memory.fact(_PUBLISHED) or b"0")
            self._look(entries)
            if self._published:
                self._mend(entries)
            self._catch_up()

    def append(self, entries: Sequence[bytes]) -> Appended:
        """Append entries in order, all or none; returns once a published checkpoint covers them.

        Raises ``EntryTooLarge``; and ``LogNotWritable`` or ``LogUnreadable`` when the bucket cannot
        be reached: the entries may then be remembered (:meth:`LogCopy.find`), and if so are
        published by the next append or :meth:`start`. Errors of ``sign`` pass through likewise.
        """
        size = len(encode_bundle(entries))
        if not 0 < size <= COMMIT_BYTES_MAX:
            raise EntryTooLarge(
                place="append",
                expected=f"1 to {COMMIT_BYTES_MAX} bytes in all",
                actual=f"{size} bytes",
            )
        mine = _Waiting(tuple(entries))
        with self._queue_lock:
            self._queue.append(mine)
        with self._commit_lock:
            if mine.appended is None and mine.error is None:
                with self._queue_lock:
                    batch, self._queue = self._queue, []
                self._commit(batch)
        if mine.appended is None:
            raise mine.error or RuntimeError("neither appended nor failed")
        return mine.appended

    def publish(self) -> None:
        """Publish whatever is remembered and not in the bucket. Raises as :meth:`append` does."""
        with self._commit_lock:
            self._catch_up()

    def _commit(self, batch: Sequence[_Waiting]) -> None:
        try:
            self._catch_up()
            before = self.memory.edge
            entries = [entry for each in batch for entry in each.entries]
            after, tiles = before.extend(entries)
            if not self.memory.add(entries, after):
                raise LogMemoryDamaged(place=self.key.name, actual="another process writes it")
            self._publish(before, after, tiles)
        except BaseException as error:  # handed to each caller
            for each in batch:
                each.error = error
            return
        place = before.size
        for each in batch:
            each.appended = Appended(place, after.size, after.root())
            place += len(each.entries)

    def _catch_up(self) -> None:
        edge = self.memory.edge
        if self._published < edge.size:
            before = self._edge_at(self._published)
            _, tiles = before.extend(list(self.memory.entries(self._published)))
            self._publish(before, edge, tiles)

    def _publish(self, before: Edge, after: Edge, tiles: Mapping[str, bytes]) -> None:
        self._claim(before.size, after)
        for path, data in tiles.items():
            self._put(path, data)
        checkpoint = Checkpoint(self.key.name, after.size, after.root())
        self._put_checkpoint(sign_checkpoint(checkpoint, self.key.public_key, self._sign))
        self._published = after.size
        self.memory.set_fact(_PUBLISHED, str(after.size).encode())

    def _claim(self, at: int, after: Edge) -> None:
        """Decide what follows entry ``at - 1``: nothing else can be signed there.

        A claim of ours that a crash left is followed to where it leads. One that our memory
        contradicts is a second releaser's.
        """
        for _ in range(_MAX_SWAPS):
            path = claim_path(at)
            claim = self._claim_bytes(at, after.size, after.root())
            if self._store.create(path, claim):
                return
            found = self._store.read(path)
            size = self._claimed(at, found[0]) if found else None
            if size is not None:
                if size > after.size or found is None:
                    raise LogOfAnotherReleaser(place=path, actual=f"a claim up to size {size}")
                known = self._claim_bytes(at, size, self._edge_at(size).root())
                if found[0] != known:
                    raise LogOfAnotherReleaser(place=path, expected="what this releaser remembers")
                at = size
                if at == after.size:
                    return
            elif at == 0:
                raise LogOfAnotherReleaser(place=path, actual="a claim by somebody else")
            elif found is not None:
                self._store.replace(path, claim, found[1])  # not ours, and no releaser's
        raise LogNotWritable(place=claim_path(at), actual=f"changed {_MAX_SWAPS} times meanwhile")

    def _claim_bytes(self, at: int, size: int, root: bytes) -> bytes:
        text = f"{self.key.name}\n{at}\n{size}\n{root.hex()}\n".encode()
        secret = self.memory.fact(_SECRET) or b""
        return text + hmac.new(secret, text, "sha256").hexdigest().encode() + b"\n"

    def _claimed(self, at: int, claim: bytes) -> int | None:
        """The size that a claim leads to; None when it was not made with this memory's secret."""
        lines = claim.decode(errors="replace").split("\n")
        if len(lines) != 6 or not lines[2].isdecimal() or len(lines[3]) != 64:
            return None
        try:
            ours = self._claim_bytes(at, int(lines[2]), bytes.fromhex(lines[3]))
        except ValueError:
            return None
        return int(lines[2]) if hmac.compare_digest(ours, claim) else None

    def _put(self, path: str, data: bytes) -> None:
        """Make ``data`` the object's current bytes, whatever somebody wrote there."""
        for _ in range(_MAX_SWAPS):
            if self._store.create(path, data):
                return
            found = self._store.read(path)
            if found is not None and (
                found[0] == data or self._store.replace(path, data, found[1])
            ):
                return
        raise LogNotWritable(place=path, actual=f"changed {_MAX_SWAPS} times meanwhile")

    def _put_checkpoint(self, note: bytes) -> None:
        for _ in range(_MAX_SWAPS):
            if self._tag is None:
                done = self._store.create(CHECKPOINT, note)
            else:
                done = self._store.replace(CHECKPOINT, note, self._tag)
            found = self._store.read(CHECKPOINT)
            if found is not None:
                self._tag = found[1]
                if done and found[0] == note:
                    return
                self._known_head(found[0])
            else:
                self._tag = None
        raise LogNotWritable(place=CHECKPOINT, actual=f"changed {_MAX_SWAPS} times meanwhile")

    def _known_head(self, note: bytes) -> Checkpoint | None:
        """The checkpoint in a note, None when it is not signed by the log's key.

        Raises ``LogOfAnotherReleaser`` for one that is and is longer than what is remembered, and
        ``CheckpointForked`` for one of another history.
        """
        try:
            head = open_checkpoint(note, self.key, self.key.name, place=CHECKPOINT)
        except AuditError:
            return None
        if head.size > self.memory.size:
            raise LogOfAnotherReleaser(
                place=CHECKPOINT,
                expected=f"size {self.memory.size} at most",
                actual=f"size {head.size}, signed by this log's key",
            )
        if head.root != self._edge_at(head.size).root():
            raise CheckpointForked(
                place=CHECKPOINT, expected="a prefix of what this releaser remembers"
            )
        return head

    def _look(self, entries: Sequence[bytes]) -> None:
        """What the bucket holds, against what is remembered."""
        found = self._store.read(CHECKPOINT)
        if not entries:
            left = [each.key for each in self._store.versions()] or [CHECKPOINT] * bool(found)
            if left:
                raise LogMemoryLost(place=self.key.name, expected="an empty folder", actual=left[0])
            return
        if found is None:
            return
        self._tag = found[1]
        try:
            head = self._known_head(found[0])
        except LogOfAnotherReleaser as error:
            raise LogMemoryLost(
                place=self.key.name, expected=error.expected, actual=error.actual
            ) from None
        if head is not None:
            self._published = max(self._published, head.size)

    def _mend(self, entries: Sequence[bytes]) -> None:
        """Write over what differs from what the last checkpoint covers, and over an old one."""
        wanted = covered(entries[: self._published])
        paths = list(wanted)
        for path, data in zip(paths, self._store.read_many(paths), strict=True):
            if data != wanted[path]:
                self._put(path, wanted[path])
        edge = self._edge_at(self._published)
        checkpoint = Checkpoint(self.key.name, edge.size, edge.root())
        note = sign_checkpoint(checkpoint, self.key.public_key, self._sign)
        found = self._store.read(CHECKPOINT)
        if found is None or found[0] != note:
            self._put_checkpoint(note)

    def _edge_at(self, size: int) -> Edge:
        if size == self.memory.size:
            return self.memory.edge
        return Edge().extend(list(self.memory.entries(0, size)))[0]
