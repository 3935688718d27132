"""The log's one sequencer: many callers, crashes at any call, thieves, and second releasers."""

from __future__ import annotations

import errno
import secrets
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import pytest

from strongroom.audit.log.copy import LogCopy
from strongroom.audit.log.errors import (
    CheckpointForked,
    EntryTooLarge,
    LogMemoryDamaged,
    LogMemoryLost,
    LogNotFound,
    LogNotWritable,
    LogOfAnotherReleaser,
    LogUnreadable,
    SignerMismatch,
)
from strongroom.audit.log.note import Checkpoint, sign_checkpoint
from strongroom.audit.log.store import DirectoryStore
from strongroom.audit.log.tlog import leaf_hash, subtree_root
from strongroom.audit.log.verify import check_log, read_log


def batch(count=1):
    return [f"entry {secrets.token_hex(16)}".encode() for _ in range(count)]


def check(maker, store, acknowledged):
    """The log verifies, each acknowledged append is in it once, where it was promised."""
    view = read_log(store, maker.vkey, maker.origin)
    rows, _ = check_log(store, maker.vkey, maker.origin)
    assert [row for row in rows if not row.ok] == []
    assert len(set(view.entries)) == len(view.entries)
    leaves = [leaf_hash(entry) for entry in view.entries]
    for entries, appended in acknowledged:
        assert list(view.entries[appended.first : appended.first + len(entries)]) == entries
        assert subtree_root(leaves[: appended.size]) == appended.root
    assert subtree_root(leaves) == view.root
    assert all(len(roots) == 1 for roots in maker.histories().values()), "two histories"
    return view


def test_appends_follow_each_other_and_survive_a_restart(maker, memory, tmp_path):
    done = []
    for count in (1, 3, 255, 1, 256, 600, 2):
        copy = LogCopy(tmp_path / "log")
        entries = batch(count)
        done.append((entries, maker.sequencer(memory, copy).append(entries)))
        copy.close()
    assert check(maker, memory, done).size == 1118


@pytest.mark.parametrize("kind", ["memory", "directory"])
def test_eight_threads_lose_nothing_and_commit_together(maker, memory, tmp_path, kind):
    store = memory if kind == "memory" else DirectoryStore(tmp_path / "log")
    log = maker.sequencer(store)
    barrier = threading.Barrier(8)

    def work(number):
        barrier.wait()
        done = []
        for turn in range(25):
            entries = batch(1 + (number + turn) % 7)
            done.append((entries, log.append(entries)))
        return done

    with ThreadPoolExecutor(8) as pool:
        done = [item for result in pool.map(work, range(8)) for item in result]
    view = check(maker, store, done)
    assert view.size == sum(len(entries) for entries, _ in done)
    assert len(maker.histories()) < len(done), "each append was committed alone"


class Killed(BaseException):
    """Ends a sequencer as SIGKILL does: no handler runs."""


def crash_points(maker, memory_type, failing):
    """How many calls of store and key the append under test makes."""
    counting = failing(memory_type(), -1, Killed(), after=False)
    log = maker.sequencer(counting)
    log.append(batch(250))
    before = counting.calls
    log.append(batch(10))
    return counting.calls - before


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("error", [Killed(), OSError(errno.ENOSPC, "No space left on device")])
def test_a_failure_at_any_call_harms_nothing(maker, memory, failing, after, error):
    calls = crash_points(maker, type(memory), failing)
    assert calls >= 6
    for at in range(1, calls + 1):
        maker.signed.clear()
        store, copy = type(memory)(), LogCopy()
        log = maker.sequencer(store, copy)
        done = [(first := batch(250), log.append(first))]
        failing_store = failing(store, at, error, after=after)
        log._store._store = log._store._writable = failing_store
        victim = batch(10)
        with pytest.raises((Killed, LogNotWritable, LogUnreadable)):
            log.append(victim)
        # Readers meanwhile find a log that is whole.
        assert check(maker, store, done).size in (250, 260)
        log = maker.sequencer(store, copy)
        for count in (1, 20):
            entries = batch(count)
            done.append((entries, log.append(entries)))
        view = check(maker, store, done)
        found = [entry for entry in victim if entry in view.entries]
        assert found in ([], victim), "half a batch is in the log"
        assert bool(found) == (copy.size == 281), "what is remembered is in the log"


def test_a_failed_sign_is_made_up_for_by_the_next_append(maker, memory):
    log = maker.sequencer(memory)
    done = [(first := batch(), log.append(first))]
    sign, log._sign = log._sign, lambda text: (_ for _ in ()).throw(ConnectionError("no KMS"))
    lost = batch(2)
    with pytest.raises(ConnectionError):
        log.append(lost)
    assert check(maker, memory, done).size == 1
    log._sign = sign
    done.append((last := batch(), log.append(last)))
    view = check(maker, memory, done)
    assert list(view.entries[1:3]) == lost
    assert view.size == 4


def test_the_wrong_signing_key_is_refused(maker, memory):
    with pytest.raises(SignerMismatch):
        maker.sequencer(memory, sign=lambda text: bytes(64)).append(batch())


def test_entries_that_do_not_fit_are_refused_before_anything_is_written(maker, memory):
    log = maker.sequencer(memory)
    for entries in ([], [b"x" * 65_535], [b"x" * 65_534] * 300):
        with pytest.raises(EntryTooLarge):
            log.append(entries)
    assert memory.keys() == []
    assert log.memory.size == 0


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, "No space left on device"),
        PermissionError(errno.EACCES, "Permission denied"),
        RuntimeError("token=s3cr3t"),
    ],
)
def test_a_store_that_refuses_is_an_audit_error(maker, memory, failing, error):
    log = maker.sequencer(memory)
    done = [(first := batch(3), log.append(first))]
    log._store._writable = failing(memory, 1, error, after=False)
    with pytest.raises(LogNotWritable) as caught:
        log.append(batch())
    assert caught.value.code == "SR-AUDIT-002"
    assert "s3cr3t" not in str(caught.value)
    check(maker, memory, done)


@pytest.mark.parametrize("path", ["tile/entries/000.p/3", "tile/0/000.p/3", "next/2", "checkpoint"])
@pytest.mark.parametrize("when", ["before", "always"])
def test_what_a_thief_plants_in_the_way_is_written_over(maker, memory, path, when):
    """Nobody but the sequencer decides what is in the log, wherever they can write."""
    log = maker.sequencer(memory)
    done = [(first := batch(2), log.append(first))]
    memory.put(path, b"planted")
    done.append((entries := batch(), log.append(entries)))
    if when == "always":
        memory.put("tile/0/000.p/3", b"planted again")
        log = maker.sequencer(memory, log.memory)
    assert check(maker, memory, done).size == 3


@pytest.mark.parametrize("path", ["next/3", "tile/entries/000.p/5", "tile/0/000.p/5", "checkpoint"])
def test_a_thief_who_is_always_quicker_is_told_and_not_waited_for(maker, memory, path, monkeypatch):
    """Each time that the object is to be written over it has changed."""
    log = maker.sequencer(memory)
    log.append(batch(3))
    memory.put(path, b"junk")
    write = memory.replace

    def too_late(key, data, etag):
        if key == path:
            memory.put(path, b"junk again")
        return write(key, data, etag)

    with monkeypatch.context() as thief:
        thief.setattr(memory, "replace", too_late)
        with pytest.raises(LogNotWritable, match="times meanwhile"):
            log.append(batch(2))
    entries = batch(1)
    assert check(maker, memory, [(entries, log.append(entries))]).size == 6


def test_a_planted_event_never_becomes_part_of_the_log(maker, memory):
    """A lease of the log can create objects that look like what comes next."""
    log = maker.sequencer(memory)
    done = [(first := batch(2), log.append(first))]
    forged = maker.sequencer(other := type(memory)())
    forged.append(first)
    forged.append([b"a false event"])
    for key, data in other.current().items():
        if key != "checkpoint":
            memory.create(key, data)
    maker.signed.clear()
    done.append((entries := batch(), log.append(entries)))
    assert b"a false event" not in check(maker, memory, done).entries


@pytest.mark.parametrize("size", [1, 2, 3])
def test_a_rolled_back_checkpoint_is_put_right(maker, memory, size):
    log = maker.sequencer(memory)
    done, notes = [], []
    for count in (2, 3, 300):
        done.append((entries := batch(count), log.append(entries)))
        notes.append(memory.current()["checkpoint"])
    memory.put("checkpoint", notes[size - 1])
    done.append((entries := batch(), log.append(entries)))
    assert check(maker, memory, done).size == 306
    memory.put("checkpoint", None)
    assert maker.sequencer(memory, log.memory).memory.size == 306
    check(maker, memory, done)


def test_a_lost_memory_stops_it_before_it_signs(maker, memory):
    maker.sequencer(memory).append(batch(3))
    maker.signed.clear()
    with pytest.raises(LogMemoryLost, match="strongroom releaser adopt"):
        maker.sequencer(memory)
    assert maker.signed == []


@pytest.mark.parametrize("left", ["checkpoint", "tile/entries/000.p/3", "next/0"])
def test_a_log_that_was_deleted_is_no_new_log(maker, memory, left):
    """Its versions and delete markers tell that there was one."""
    maker.sequencer(memory).append(batch(3))
    for key in list(memory.objects):
        if key != left:
            memory.forget(key, len(memory.objects[key]))
    memory.put(left, None)
    with pytest.raises(LogMemoryLost):
        maker.sequencer(memory)


def test_a_memory_restored_from_an_old_copy_stops_it(maker, memory):
    copy, old = LogCopy(), LogCopy()
    log = maker.sequencer(memory, copy)
    first = batch(3)
    log.append(first)
    old.add(first, copy.edge, {"secret": copy.fact("secret")})
    log.append(batch(2))
    maker.signed.clear()
    with pytest.raises(LogMemoryLost, match="size 5"):
        maker.sequencer(memory, old)
    assert maker.signed == []


def test_two_with_one_memory_sign_one_history(maker, memory):
    """A machine and its clone, both at work: one of them stops, and has signed nothing."""
    copy, clone = LogCopy(), LogCopy()
    one = maker.sequencer(memory, copy)
    first = batch(3)
    one.append(first)
    clone.add(first, copy.edge, {"secret": copy.fact("secret"), "published": b"3"})
    other = maker.sequencer(memory, clone)
    done = [(entries := batch(), one.append(entries))]
    with pytest.raises(LogOfAnotherReleaser):
        other.append(batch())
    with pytest.raises(LogOfAnotherReleaser):
        other.append(batch())
    done.append((entries := batch(), one.append(entries)))
    check(maker, memory, done)


def test_two_that_begin_one_log_at_once_sign_one_history(maker, memory):
    one, other = maker.sequencer(memory), maker.sequencer(memory)
    done = [(entries := batch(), one.append(entries))]
    with pytest.raises(LogOfAnotherReleaser):
        other.append(batch())
    check(maker, memory, done)


def test_without_the_claim_a_clone_signs_a_second_history(maker, memory, monkeypatch):
    """The control of the two tests above."""
    monkeypatch.setattr("strongroom.audit.log.sequencer.Sequencer._claim", lambda *_: None)
    one, other = maker.sequencer(memory), maker.sequencer(memory)
    one.append(batch())
    with suppress(LogOfAnotherReleaser, CheckpointForked):
        other.append(batch())
    assert len(maker.histories()[1]) == 2


def test_a_fork_by_a_holder_of_the_log_key_is_noticed(maker, memory):
    log = maker.sequencer(memory)
    log.append(batch(3))
    fork = sign_checkpoint(
        Checkpoint(maker.origin, 3, bytes(32)), maker.key.public_key, maker.private_key.sign
    )
    memory.put("checkpoint", fork)
    with pytest.raises(CheckpointForked):
        maker.sequencer(memory, log.memory)
    longer = sign_checkpoint(
        Checkpoint(maker.origin, 9, bytes(32)), maker.key.public_key, maker.private_key.sign
    )
    memory.put("checkpoint", longer)
    with pytest.raises(LogOfAnotherReleaser):
        log.append(batch())


def test_a_memory_that_contradicts_itself_is_refused(maker, memory, tmp_path):
    copy = LogCopy(tmp_path / "log")
    maker.sequencer(memory, copy).append(batch(3))
    copy._db.execute("UPDATE entry SET data = ? WHERE place = 1", (b"changed",))
    with pytest.raises(LogMemoryDamaged):
        maker.sequencer(memory, LogCopy(tmp_path / "log"))


def test_nothing_is_in_the_bucket_before_the_first_append(maker, memory):
    maker.sequencer(memory)
    with pytest.raises(LogNotFound):
        read_log(memory, maker.vkey, maker.origin)
