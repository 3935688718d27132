"""Adversaries who can write to the log's storage, speak to its releaser, or sign with its key.

Each attack is also made on a reader or a releaser without the defence, which it fools: one that
believes the bucket, sees current versions only, has kept nothing, or takes whatever it is told.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta

import msgspec
import pytest

from strongroom.audit.events import order
from strongroom.audit.events.entries import RELEASER, from_entry, to_entry
from strongroom.audit.events.order import RunOrder, check_history
from strongroom.audit.log.copy import LogCopy
from strongroom.audit.log.errors import (
    CheckpointForked,
    CheckpointUntrusted,
    EventRefused,
    LogMemoryLost,
    LogObjectMissing,
    LogOfAnotherReleaser,
    LogRolledBack,
    RootMismatch,
    TileMismatch,
)
from strongroom.audit.log.note import Checkpoint, sign_checkpoint
from strongroom.audit.log.sequencer import Sequencer
from strongroom.audit.log.store import DirectoryStore
from strongroom.audit.log.tlog import covered, decode_bundle, encode_bundle, leaf_hash, subtree_root
from strongroom.audit.log.verify import Check, check_log, read_log
from strongroom.errors import Exit
from strongroom.pipeline.releaser import notary
from support import told
from support.kept_log import KeptLog
from support.logs import LogMaker, MemoryStore
from support.told import AFTER_KEYS, BEFORE_KEYS, EXPORTED, RELEASED, said

USER, THIEF = "uid:1000", "uid:1001"


def entry(data, run: str = "r", *, at: datetime | None = None, caller: str = USER) -> bytes:
    """An event as it stands in the log."""
    by = RELEASER if order.ACTORS[type(data)] == "releaser" else caller
    return to_entry(msgspec.structs.replace(said(data, run, at), caller=by))


def a_run(run: str = "r") -> list[bytes]:
    """All that a run has to tell."""
    return [entry(data, run) for data in (*BEFORE_KEYS, RELEASED, *AFTER_KEYS)]


class Victim:
    """A log of one run, in a bucket that keeps versions, and its releaser's memory."""

    def __init__(self) -> None:
        self.maker, self.store, self.memory = LogMaker(), MemoryStore(), LogCopy()
        self.log = self.maker.sequencer(self.store, self.memory)
        for said_of_run in a_run():
            self.log.append([said_of_run])

    @property
    def entries(self) -> list[bytes]:
        return list(self.memory.entries())

    def read(self, copy: LogCopy | None = None) -> list[bytes]:
        return list(read_log(self.store, self.maker.vkey, self.maker.origin, copy).entries)

    def failed(self, copy: LogCopy | None = None, store=None, **more) -> list[Check]:
        rows, _ = check_log(store or self.store, self.maker.vkey, self.maker.origin, copy, **more)
        return [row for row in rows if not row.ok]

    def codes(self, *args, **more) -> set[str]:
        return {row.detail.partition(":")[0] for row in self.failed(*args, **more)}

    def noted(self) -> set[str]:
        rows, _ = check_log(self.store, self.maker.vkey, self.maker.origin)
        return {row.object for row in rows if row.noted}

    def note(self, size: int) -> bytes:
        """The checkpoint that the log had at a size."""
        (found,) = (
            data
            for _, data in self.store.objects["checkpoint"]
            if data is not None and data.split(b"\n")[1] == str(size).encode()
        )
        return found

    def sign(self, entries: Sequence[bytes]) -> dict[str, bytes]:
        """Every object of another history, as a thief of the log's key makes it."""
        root = subtree_root([leaf_hash(each) for each in entries])
        head = Checkpoint(self.maker.origin, len(entries), root)
        key = self.maker.key.public_key
        note = sign_checkpoint(head, key, self.maker.private_key.sign)
        return covered(entries) | {"checkpoint": note}

    def put(self, objects: dict[str, bytes]) -> None:
        for key, data in objects.items():
            self.store.put(key, data)


class CurrentOnly:
    """A reader without the defence: it lists what is there now, as objects in a folder."""

    def __init__(self, store: MemoryStore) -> None:
        self._store = store

    def __getattr__(self, name: str) -> Callable[..., object]:
        return getattr(self._store, name)

    def versions(self) -> Iterator[object]:
        return (each for each in self._store.versions() if each.current and not each.deleted)


@pytest.fixture
def victim() -> Victim:
    return Victim()


# ---- planting ------------------------------------------------------------------------------------


def planted_by_a_lease(victim: Victim) -> bytes:
    """Create whatever would stand there if the releaser had entered a false export."""
    false = entry(EXPORTED)
    size = len(victim.entries)
    for key, data in covered([*victim.entries, false]).items():
        victim.store.create(key, data)
    victim.store.create(f"next/{size}", b"a claim of the thief's")
    victim.store.create(f"batches/{size}", encode_bundle([false]))
    return false


def test_a_false_event_that_a_lease_planted_is_never_signed(victim):
    false = planted_by_a_lease(victim)
    assert len(victim.noted()) >= 4, "and until then it is named"
    victim.log.append([entry(told.LEASE)])
    assert false not in victim.read()
    assert victim.failed() == []


def test_a_releaser_that_believes_the_bucket_signs_it(victim):
    """The control: it takes what follows in the bucket for what it was about to write."""
    false = planted_by_a_lease(victim)
    size = len(victim.entries)
    bundle = victim.store.current()[f"tile/entries/000.p/{size + 1}"]
    believed = LogCopy()
    victim.put(victim.sign(decode_bundle(bundle, "")))
    assert victim.read(believed)[-1] == false
    assert victim.failed() == [], "a reader cannot tell"


def test_junk_makes_no_log_fail_for_ever(victim):
    junk = {"x": b"", "tile/0/000.p/9999": b"x", "next/7777": b"", "batches/3": b"\xff"}
    victim.put(junk)
    assert victim.failed() == []
    assert set(junk) <= victim.noted()
    of_the_log = {"checkpoint", *covered(victim.entries)}
    unexplained = [key for key in junk if key not in of_the_log and key in victim.store.current()]
    assert unexplained == list(junk), "the control: who fails on what is no log's fails for ever"


def test_a_caller_says_nothing_in_the_releaser_s_name(tmp_path, monkeypatch):
    log = KeptLog(tmp_path)
    log.notary.take([said(data) for data in BEFORE_KEYS], USER)
    log.notary.say("r", RELEASED)
    for caller in (USER, THIEF, RELEASER.upper()):
        with pytest.raises(EventRefused):
            log.notary.take([said(EXPORTED)], caller)
    assert "adapter.exported" not in log.types()
    monkeypatch.setattr(RunOrder, "check", lambda *_: None)
    log.notary.take([said(EXPORTED)], USER)
    assert "adapter.exported" in log.types(), "the control: without the rule it is signed"


def test_a_caller_speaks_of_no_other_s_run(tmp_path, monkeypatch):
    log = KeptLog(tmp_path)
    log.notary.take([said(data) for data in BEFORE_KEYS], USER)
    with pytest.raises(EventRefused):
        log.notary.take([said(told.FAILED)], THIEF)
    monkeypatch.setattr(notary.Notary, "may_speak", lambda *_: True)
    log.notary.take([said(told.FAILED)], THIEF)
    assert log.types()[-1] == "run.failed", "the control"


# ---- truncation and rollback ---------------------------------------------------------------------


@pytest.mark.parametrize("count", [1, 3, 9])
def test_a_checkpoint_put_back_is_told_by_the_versions_behind_it(victim, count):
    victim.store.put("checkpoint", victim.note(len(victim.entries) - count))
    assert victim.codes() == {LogRolledBack.code}
    assert victim.failed(store=CurrentOnly(victim.store)) == [], "the control"


def test_a_checkpoint_put_back_is_told_by_whoever_read_the_log_before(victim):
    seen = LogCopy()
    victim.read(seen)
    size = len(victim.entries) - 1
    note = victim.note(size)
    victim.store.forget("checkpoint")  # as only an unlocked bucket allows
    victim.put({"checkpoint": note})
    with pytest.raises(LogRolledBack) as caught:
        victim.read(seen)
    assert caught.value.exit_code == Exit.INTEGRITY
    assert victim.codes(seen) == {LogRolledBack.code}
    assert len(victim.read()) == size, "the control: who reads for the first time is fooled"
    assert victim.failed() == []


def test_a_checkpoint_put_back_is_told_by_one_that_was_kept(victim):
    kept = {"kept": victim.note(len(victim.entries))}
    victim.store.forget("checkpoint")
    assert victim.failed() == [], "the control"
    assert victim.codes(since=kept) == {LogRolledBack.code}


def test_old_checkpoints_hide_no_newer_one(victim):
    """Thousands of them would push it out of what a reader of the newest versions sees."""
    olds = [victim.note(size) for size in range(1, len(victim.entries))]
    for _ in range(400):
        for old in olds:
            victim.store.put("checkpoint", old)
    assert victim.codes() == {LogRolledBack.code}

    class Newest(CurrentOnly):
        """The control: it sees the newest thousand of an object's versions."""

        def versions(self):
            found = [each for each in self._store.versions() if each.key == "checkpoint"]
            return iter(found[:1000])

    grown = [note for note in olds for _ in range(1000 // len(olds) + 1)]
    for old in grown:  # as a log that grows
        victim.store.put("checkpoint", old)
    assert victim.codes() == {LogRolledBack.code}
    assert victim.failed(store=Newest(victim.store)) == []


def test_the_releaser_puts_a_rolled_back_log_right_and_it_stays_known(victim):
    victim.store.put("checkpoint", victim.note(4))
    victim.log.append([entry(told.LEASE)])
    assert victim.failed() == []
    rows, _ = check_log(victim.store, victim.maker.vkey, victim.maker.origin)
    assert [row.name for row in rows if row.noted] == ["rolled back"]
    careless, _ = check_log(CurrentOnly(victim.store), victim.maker.vkey, victim.maker.origin)
    assert [row for row in careless if row.noted] == [], "the control"


@pytest.mark.parametrize("kind", ["tile/entries/", "tile/0/", "checkpoint"])
def test_a_delete_marker_is_no_way_to_shorten_the_log(victim, kind):
    (key,) = (key for key in victim.sign(victim.entries) if key.startswith(kind))
    victim.store.put(key, None)
    assert LogObjectMissing.code in victim.codes()
    remaining = [name for name in victim.store.current() if name.startswith("tile/entries/")]
    newest = max(remaining, key=lambda name: int(name.rpartition("/")[2]))
    shorter = decode_bundle(victim.store.current()[newest], newest)
    assert shorter == victim.entries[: len(shorter)], "the control: who takes what is there"


def test_a_log_that_was_emptied_is_no_new_one(victim):
    for key in victim.store.current():
        victim.store.put(key, None)
    assert victim.codes() == {LogObjectMissing.code}
    with pytest.raises(LogMemoryLost):
        victim.maker.sequencer(victim.store)
    trusting = MemoryStore()
    victim.maker.sequencer(trusting).append([b"a first entry"])
    assert victim.failed(store=trusting) == [], "the control: without versions it is a new log"


def test_a_run_that_was_cut_out_with_the_log_s_key_is_missed(victim):
    victim.log.append(a_run("other"))
    seen = LogCopy()
    victim.read(seen)
    kept = {"kept": victim.note(len(victim.entries))}
    left = [each for each in victim.entries if from_entry(each).run == "other"]
    alone = MemoryStore()
    for key, data in victim.sign(left).items():
        alone.put(key, data)
        victim.store.put(key, data)
    assert list(check_history(left)) == []
    assert victim.failed(store=alone) == [], "the control: the rest is a whole log by itself"
    assert victim.codes(), "versions"
    assert victim.codes(store=alone, since=kept) == {LogRolledBack.code}
    assert victim.codes(seen, store=alone) == {LogRolledBack.code}


# ---- two histories -------------------------------------------------------------------------------


def test_a_fork_by_a_thief_of_the_key_contradicts_what_was_seen(victim):
    seen, kept = LogCopy(), {"kept": victim.note(5)}
    victim.read(seen)
    fork = MemoryStore()
    other = [*a_run(), entry(EXPORTED), entry(EXPORTED)]
    for key, data in victim.sign(other).items():
        fork.put(key, data)
        victim.store.put(key, data)
    assert victim.failed(store=fork) == [], "the control"
    assert victim.codes(store=fork, since=kept) == {CheckpointForked.code}
    assert victim.codes(seen, store=fork) == {CheckpointForked.code}
    assert victim.codes() == {CheckpointForked.code}, "locked versions"


def test_the_releaser_builds_on_no_fork(victim):
    longer = victim.sign([*victim.entries, entry(EXPORTED)])
    same = victim.sign([*victim.entries[:-1], entry(EXPORTED)])
    for fork, error in ((longer, LogMemoryLost), (same, CheckpointForked)):
        victim.put(fork)
        signed = len(victim.maker.signed)
        with pytest.raises(error):
            victim.maker.sequencer(victim.store, victim.memory)
        assert len(victim.maker.signed) == signed, "it signs nothing"


@pytest.mark.parametrize(
    ("more", "error"), [(0, CheckpointForked), (1, CheckpointForked), (2, LogOfAnotherReleaser)]
)
def test_a_releaser_at_work_publishes_over_no_fork(victim, monkeypatch, more, error):
    """However long the fork is, beside what the releaser signs next."""
    victim.put(victim.sign([*victim.entries[:-1], *[entry(EXPORTED) for _ in range(1 + more)]]))
    theirs = victim.store.current()["checkpoint"]
    with pytest.raises(error):
        victim.log.append([entry(told.LEASE)])
    assert victim.store.current()["checkpoint"] == theirs
    monkeypatch.setattr(Sequencer, "_known_head", lambda *_: None)
    victim.log.append([entry(told.LEASE)])
    assert victim.store.current()["checkpoint"] != theirs, "the control: the fork is papered over"


def restored(victim: Victim) -> LogCopy:
    """The releaser's memory from a backup of some appends ago."""
    old, size = LogCopy(), 4
    entries = victim.entries[:size]
    edge, _ = old.edge.extend(entries)
    secret = victim.memory.fact("secret") or b""
    old.add(entries, edge, {"secret": secret, "published": str(size).encode()})
    return old


def nobody_looks(monkeypatch) -> None:
    """A releaser without the defence: it goes on from its memory alone, and claims nothing."""
    monkeypatch.setattr(Sequencer, "_look", lambda *_: None)
    monkeypatch.setattr(Sequencer, "_claim", lambda *_: None)
    monkeypatch.setattr(Sequencer, "_known_head", lambda *_: None)


@pytest.mark.parametrize("memory", [restored, lambda _victim: LogCopy()], ids=["old", "none"])
def test_a_releaser_with_an_old_memory_or_none_signs_no_second_history(victim, monkeypatch, memory):
    with pytest.raises(LogMemoryLost):
        victim.maker.sequencer(victim.store, memory(victim))
    assert all(len(roots) == 1 for roots in victim.maker.histories().values())
    nobody_looks(monkeypatch)
    with suppress(LogOfAnotherReleaser):
        victim.maker.sequencer(victim.store, memory(victim)).append([entry(EXPORTED)])
    assert max(len(roots) for roots in victim.maker.histories().values()) == 2, "the control"


def test_nobody_is_locked_out_by_claims_to_future_sizes(victim):
    """A lease can create them; the releaser takes only its own for one."""
    size = len(victim.entries)
    for at in range(size, size + 20):
        victim.store.create(f"next/{at}", f"{victim.maker.origin}\n{at}\n{at + 9}\n".encode())
    for _ in range(20):
        victim.log.append([entry(told.LEASE)])
    assert victim.failed() == []
    assert len(victim.read()) == size + 20


def test_a_size_that_nothing_lies_under_is_no_log(victim):
    head = Checkpoint(victim.maker.origin, len(victim.entries) + 5, bytes(32))
    note = sign_checkpoint(head, victim.maker.key.public_key, victim.maker.private_key.sign)
    victim.put({"checkpoint": note})
    assert victim.codes() == {LogObjectMissing.code, RootMismatch.code}


# ---- content -------------------------------------------------------------------------------------

NOW = datetime.now(UTC)
FALSE: dict[str, Callable[[list[bytes]], bytes]] = {
    "an event of 1971": lambda log: entry(told.LEASE, at=datetime(1971, 1, 1, tzinfo=UTC)),
    "an event of 2099": lambda log: entry(told.LEASE, at=datetime(2099, 1, 1, tzinfo=UTC)),
    "an event a day late": lambda log: entry(told.LEASE, at=NOW - timedelta(days=1)),
    "an event twice": lambda log: log[1],
    "a step after the run completed": lambda log: entry(told.step(3)),
    "a step out of order": lambda log: entry(told.step(9), "half"),
    "a step without keys": lambda log: entry(told.step(1), "nobody"),
    "keys for evidence that nobody gave": lambda log: entry(RELEASED, "nobody"),
    "a result that is no checkpoint": lambda log: entry(told.PUBLISHED, "half"),
    "a completion without a result": lambda log: entry(told.COMPLETED, "half"),
    "an export that a caller tells of": lambda log: entry(EXPORTED).replace(
        b'"uid":"releaser"', b'"uid":"uid:1000"'
    ),
}


@pytest.mark.parametrize("what", FALSE)
def test_a_caller_gets_nothing_false_into_the_log(tmp_path, monkeypatch, what):
    log = KeptLog(tmp_path)
    for run, count in (("r", len(AFTER_KEYS)), ("half", 1)):
        log.notary.take([said(data, run) for data in BEFORE_KEYS], USER)
        log.notary.say(run, RELEASED)
        log.notary.take([said(data, run) for data in AFTER_KEYS[:count]], USER)
    before = list(log.memory.entries())
    false = from_entry(FALSE[what](before))
    if what == "an event twice":
        assert log.notary.take([false], false.caller) == len(before)
        assert list(log.memory.entries()) == before, "it is taken once"
        monkeypatch.setattr(notary.Notary, "known", lambda *_: None)
    else:
        with pytest.raises(EventRefused):
            log.notary.take([false], USER)
        assert list(log.memory.entries()) == before
    monkeypatch.setattr(RunOrder, "check", lambda *_: None)
    monkeypatch.setattr(notary, "check_time", lambda *_: None)
    log.notary.take([false], USER)
    assert log.memory.size == len(before) + 1, "the control: without the rules it is signed"


@pytest.mark.parametrize("what", FALSE)
def test_what_a_thief_of_the_key_signed_is_held_to_the_same_rules(victim, what):
    half = [entry(data, "half") for data in (*BEFORE_KEYS, RELEASED, *AFTER_KEYS[:1])]
    history = [*victim.entries, *half]
    assert list(check_history(history)) == []
    history.append(FALSE[what](history))
    victim.log.append(history[len(victim.entries) :])
    assert victim.failed() == [], "the control: as bytes it is a log"
    assert [place for place, _ in check_history(victim.read())] == [len(history) - 1]


# ---- bytes ---------------------------------------------------------------------------------------


def newest_bundle(victim: Victim) -> tuple[str, list[bytes]]:
    """A reader without the defence: it takes the newest entry bundle as it is."""
    names = [key for key in victim.store.current() if key.startswith("tile/entries/")]
    key = max(names, key=lambda name: int(name.rpartition("/")[2]))
    return key, decode_bundle(victim.store.current()[key], key)


def test_an_edited_entry(victim):
    for key, data in victim.store.current().items():
        victim.store.put(key, data.replace(b'"step":2', b'"step":3'))
    edited = [from_entry(each).data for each in newest_bundle(victim)[1]]
    assert told.step(3) in edited
    assert told.step(2) not in edited
    with pytest.raises(TileMismatch) as caught:
        victim.read()
    assert caught.value.exit_code == Exit.INTEGRITY


def test_reordered_entries(victim):
    key, entries = newest_bundle(victim)
    victim.store.put(key, encode_bundle(entries[::-1]))
    assert newest_bundle(victim)[1] == victim.entries[::-1]
    with pytest.raises(TileMismatch, match=key):
        victim.read()


def test_another_history_under_another_key(victim):
    forger = LogMaker()
    forged = MemoryStore()
    forger.sequencer(forged).append(victim.entries[1:])
    victim.put(forged.current())
    trusting = read_log(victim.store, forger.vkey, forger.origin)
    assert trusting.entries == tuple(victim.entries[1:])
    with pytest.raises(CheckpointUntrusted):
        victim.read()


def test_another_log_s_checkpoint(victim):
    """A valid log under the same key but of another name is no substitute."""
    key, private = victim.maker.key.public_key, victim.maker.private_key
    note = sign_checkpoint(Checkpoint("acme-audit/test", 1, bytes(32)), key, private.sign)
    victim.put({"checkpoint": note})
    with pytest.raises(CheckpointUntrusted):
        victim.read()


def test_a_copied_folder_is_held_to_the_same(victim, tmp_path):
    """Whoever verifies elsewhere has files: they tell as much, less the versions."""
    store = DirectoryStore(tmp_path / "copy")
    for key, data in victim.store.current().items():
        store.create(key, data)
    assert victim.failed(store=store) == []
    key, entries = newest_bundle(victim)
    (tmp_path / "copy" / key).write_bytes(encode_bundle(entries[:-1]))
    assert {row.object for row in victim.failed(store=store)} == {key}
    (tmp_path / "copy" / key).write_bytes(encode_bundle(entries))
    shutil.rmtree(tmp_path / "copy/tile/0")
    assert victim.codes(store=store) == {LogObjectMissing.code}
