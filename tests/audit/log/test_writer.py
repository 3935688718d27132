"""Appending: many writers, writers that die at any call, and storage that refuses."""

from __future__ import annotations

import errno
import secrets
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import pytest

from strongroom.audit.log.errors import (
    CheckpointForked,
    EntryTooLarge,
    LogNotWritable,
    LogRolledBack,
    LogUnreadable,
    SignerMismatch,
    TileMismatch,
)
from strongroom.audit.log.store import DirectoryStore
from strongroom.audit.log.tlog import leaf_hash, subtree_root
from strongroom.audit.log.verify import read_log
from strongroom.audit.log.writer import AuditLog


def batch(count=1):
    return [f"entry {secrets.token_hex(16)}".encode() for _ in range(count)]


def check(maker, store, acknowledged):
    """The log verifies, and each acknowledged append is in it once, where it was promised."""
    view = read_log(store, maker.vkey, maker.origin, keys=store.keys())
    assert len(set(view.entries)) == len(view.entries)
    leaves = [leaf_hash(entry) for entry in view.entries]
    for entries, appended in acknowledged:
        at = appended.first_index
        assert list(view.entries[at : at + len(entries)]) == entries
        assert appended.size == at + len(entries)
        assert subtree_root(leaves[: appended.size]) == appended.root
    assert subtree_root(leaves) == view.root
    return view


def test_appends_follow_each_other_and_survive_a_new_writer(maker, memory):
    done = []
    for count in (1, 3, 255, 1, 256, 600, 2):
        entries = batch(count)
        done.append((entries, maker.writer(memory).append(entries)))
    view = check(maker, memory, done)
    assert view.size == 1118
    assert view.sizes == (1, 4, 259, 260, 516, 1116, 1118)


@pytest.mark.parametrize("kind", ["memory", "directory"])
@pytest.mark.parametrize("shared", [False, True])
def test_eight_threads_lose_nothing(maker, memory, tmp_path, kind, shared):
    store = memory if kind == "memory" else DirectoryStore(tmp_path / "log")
    one = maker.writer(store)
    barrier = threading.Barrier(8)

    def work(number):
        log = one if shared else maker.writer(store)
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


class Killed(BaseException):
    """Ends a writer as SIGKILL does: no handler runs."""


def crash_points(maker, memory_type, failing):
    """How many store calls the append under test makes."""
    store = memory_type()
    maker.writer(store).append(batch(250))
    counting = failing(store, -1, Killed(), after=False)
    maker.writer(counting).append(batch(10))
    return counting.calls


@pytest.mark.parametrize("after", [False, True])
def test_a_writer_killed_at_any_call_harms_nothing(maker, memory, failing, after):
    calls = crash_points(maker, type(memory), failing)
    assert calls >= 10
    for at in range(1, calls + 1):
        store = type(memory)()
        done = [(first := batch(250), maker.writer(store).append(first))]
        victim = batch(10)
        with pytest.raises(Killed):
            maker.writer(failing(store, at, Killed(), after=after)).append(victim)
        left = read_log(store, maker.vkey, maker.origin, keys=store.keys())
        assert left.size in (250, 260)
        assert left.pending in (0, 10)
        for count in (1, 20):
            entries = batch(count)
            done.append((entries, maker.writer(store).append(entries)))
        view = check(maker, store, done)
        assert view.pending == 0
        found = [entry for entry in victim if entry in view.entries]
        assert found in ([], victim), "half a batch is in the log"


@pytest.mark.parametrize("first", [0, 250])
@pytest.mark.parametrize("after", [False, True])
def test_what_a_killed_writer_began_can_be_finished(maker, memory, failing, first, after):
    """Then the log says all that the next append will find before it."""
    finished = 0
    for at in range(1, crash_points(maker, type(memory), failing) + 1):
        store = type(memory)()
        done = []
        if first:
            done.append((begun := batch(first), maker.writer(store).append(begun)))
        victim = batch(10)
        writer = maker.writer(failing(store, at, Killed(), after=after))
        with suppress(Killed):
            writer.append(victim)
        log = maker.writer(store)
        log.finish()
        if store.read("checkpoint") is None:
            assert store.keys() == []
            continue
        left = check(maker, store, done)
        assert left.pending == 0
        finished += list(left.entries[first:]) == victim
        entries = batch(2)
        assert log.append(entries).first_index == left.size
    assert finished


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("others", [0, 1, 3])
def test_a_failed_append_tried_again_is_written_once(maker, memory, failing, after, others):
    calls = crash_points(maker, type(memory), failing)
    for at in range(1, calls + 1):
        store = type(memory)()
        done = [(first := batch(250), maker.writer(store).append(first))]
        error = OSError(errno.ENOSPC, "No space left on device")
        log = maker.writer(failing(store, at, error, after=after))
        entries = batch(10)
        with pytest.raises((LogNotWritable, LogUnreadable)):
            log.append(entries)
        for _ in range(others):
            other = batch(2)
            done.append((other, maker.writer(store).append(other)))
        done.append((entries, log.append(entries)))
        done.append((last := batch(), log.append(last)))
        check(maker, store, done)


class RetriedStore:
    """A client that repeats calls under the hood: the second try finds its own first."""

    def __init__(self, store):
        self._store = store

    def read(self, key):
        return self._store.read(key)

    def create(self, key, data):
        self._store.create(key, data)
        return False

    def replace(self, key, data, etag):
        self._store.replace(key, data, etag)
        return False


def test_writes_that_succeed_but_report_a_conflict_are_recognised(maker, memory):
    log = maker.writer(RetriedStore(memory))
    done = [(entries, log.append(entries)) for entries in (batch(3), batch(1), batch(300))]
    assert check(maker, memory, done).size == 304


class FullStore:
    """Reads work, writes say that the disk is full (or the bucket read-only)."""

    def __init__(self, store, error):
        self._store = store
        self._error = error

    def read(self, key):
        return self._store.read(key)

    def create(self, key, data):
        raise self._error

    def replace(self, key, data, etag):
        raise self._error


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, "No space left on device"),
        PermissionError(errno.EACCES, "Permission denied"),
        RuntimeError("token=s3cr3t"),
    ],
)
def test_full_or_read_only_storage_is_an_audit_error(maker, memory, error):
    done = [(first := batch(3), maker.writer(memory).append(first))]
    before = memory.keys()
    with pytest.raises(LogNotWritable) as caught:
        maker.writer(FullStore(memory, error)).append(batch())
    assert caught.value.code == "SR-AUDIT-002"
    assert "s3cr3t" not in str(caught.value)
    assert memory.keys() == before
    assert check(maker, memory, done).pending == 0


def test_a_read_only_folder_is_an_audit_error(maker, tmp_path):
    blocked = tmp_path / "log"
    store = DirectoryStore(blocked)
    (blocked / "batches").write_text("in the way of a folder")
    with pytest.raises(LogNotWritable, match="SR-AUDIT-002"):
        maker.writer(store).append(batch())


def test_a_kms_that_refuses_leaves_the_log_whole(maker, memory):
    done = [(first := batch(), maker.writer(memory).append(first))]

    def refuse(_):
        raise ConnectionError("no KMS")

    log = AuditLog(memory, maker.origin, refuse, maker.public_key)
    with pytest.raises(ConnectionError):
        log.append(batch(2))
    assert read_log(memory, maker.vkey, maker.origin, keys=memory.keys()).pending == 2
    done.append((last := batch(), maker.writer(memory).append(last)))
    assert check(maker, memory, done).size == 4


def test_the_wrong_signing_key_is_refused(maker, memory):
    log = AuditLog(memory, maker.origin, lambda data: bytes(64), maker.public_key)
    with pytest.raises(SignerMismatch):
        log.append(batch())


def test_a_writer_that_saw_more_refuses_a_rolled_back_checkpoint(maker, memory):
    log = maker.writer(memory)
    log.append(batch())
    old = memory.objects["checkpoint"]
    log.append(batch())
    memory.objects["checkpoint"] = old
    with pytest.raises(LogRolledBack):
        log.finish()
    assert memory.objects["checkpoint"] == old
    with pytest.raises(LogRolledBack):
        log.append(batch())


def test_a_new_writer_carries_a_rolled_back_checkpoint_forward(maker, memory):
    done = []
    for count in (2, 3, 300):
        done.append((entries := batch(count), maker.writer(memory).append(entries)))
        if count == 2:
            old = memory.objects["checkpoint"]
    for forget in (
        lambda: memory.objects.update(checkpoint=old),
        lambda: memory.objects.pop("checkpoint"),
    ):
        forget()
        done.append((entries := batch(), maker.writer(memory).append(entries)))
        check(maker, memory, done)


def test_foreign_tiles_and_copies_are_never_built_upon(maker, memory):
    maker.writer(memory).append(batch(2))
    memory.create("tile/entries/000.p/3", b"foreign")
    with pytest.raises(TileMismatch, match=r"tile/entries/000\.p/3"):
        maker.writer(memory).append(batch())


def test_a_forked_copy_is_noticed(maker, memory):
    other = type(memory)()
    for store in (memory, other):
        maker.writer(store).append(batch())
    maker.writer(other).append(batch())
    memory.create("checkpoints/2", other.objects["checkpoints/2"][0])
    with pytest.raises(CheckpointForked, match="checkpoints/2"):
        maker.writer(memory).append(batch())


def test_entries_that_do_not_fit_are_refused_before_anything_is_written(maker, memory):
    log = maker.writer(memory)
    for entries in ([], [b"x" * 65_535], [b"x" * 65_534] * 300):
        with pytest.raises(EntryTooLarge):
            log.append(entries)
    assert memory.keys() == []
