"""Reading a log's head and what is new under it, with and without a copy of what was there."""

from __future__ import annotations

import multiprocessing
import os
import secrets
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from strongroom.audit.log.copy import LogCopy
from strongroom.audit.log.errors import (
    CheckpointForked,
    KeyMalformed,
    LogCopyDamaged,
    LogNotFound,
    LogObjectMissing,
    LogRolledBack,
    LogUnreadable,
    OriginMismatch,
    RootMismatch,
    TileMismatch,
)
from strongroom.audit.log.note import Checkpoint, open_checkpoint, sign_checkpoint
from strongroom.audit.log.reader import check_prefix, read_log
from strongroom.audit.log.store import AT_ONCE, DirectoryStore
from strongroom.audit.log.tlog import EMPTY_ROOT, encode_bundle
from strongroom.audit.log.verify import check_log
from strongroom.errors import Exit


def batch(count):
    return [secrets.token_hex(8).encode() for _ in range(count)]


def read(maker, store, copy=None):
    return read_log(store, maker.vkey, maker.origin, copy)


class Counting:
    """Passes calls on, and counts the objects that were read."""

    def __init__(self, store):
        self._store, self.read_keys, self.most_at_once = store, [], 0

    def __getattr__(self, name):
        return getattr(self._store, name)

    def read(self, key):
        self.read_keys.append(key)
        return self._store.read(key)

    def read_many(self, keys):
        self.read_keys += keys
        self.most_at_once = max(self.most_at_once, len(keys))
        return self._store.read_many(keys)


def test_a_log_is_read_in_full_bundles_and_never_twice(maker, memory, tmp_path):
    log = maker.sequencer(memory)
    log.append(batch(600))
    store, copy = Counting(memory), LogCopy(tmp_path / "copy")
    view = read(maker, store, copy)
    assert view.entries == tuple(log.memory.entries())
    bundles = ["tile/entries/000", "tile/entries/001", "tile/entries/002.p/88"]
    assert store.read_keys == ["checkpoint", *bundles]
    store.read_keys.clear()
    read(maker, store, copy)
    assert store.read_keys == ["checkpoint"]
    log.append(batch(3))
    store.read_keys.clear()
    assert read(maker, store, LogCopy(tmp_path / "copy")).entries == tuple(log.memory.entries())
    assert store.read_keys == ["checkpoint", "tile/entries/002.p/91"]


def test_many_bundles_are_read_some_at_a_time(maker, memory):
    maker.sequencer(memory).append([b"x"] * (256 * (AT_ONCE + 2)))
    store = Counting(memory)
    assert read(maker, store).size == 256 * (AT_ONCE + 2)
    assert store.most_at_once == AT_ONCE


def test_a_view_ends_where_its_head_does(maker, memory):
    """However far somebody else has read on in the same copy since."""
    log, copy = maker.sequencer(memory), LogCopy()
    log.append(first := batch(3))
    view = read(maker, memory, copy)
    log.append(batch(2))
    assert read(maker, memory, copy).size == 5
    assert view.entries == tuple(first)


@pytest.mark.parametrize("key", ["checkpoint", "tile/entries/000", "tile/entries/001.p/4"])
def test_what_is_missing_is_an_integrity_failure(maker, memory, key):
    maker.sequencer(memory).append(batch(260))
    memory.put(key, None)
    with pytest.raises(LogObjectMissing) as caught:
        read(maker, memory)
    assert (caught.value.place, caught.value.exit_code) == (key, Exit.INTEGRITY)


@pytest.mark.parametrize(
    ("data", "error"),
    [
        (encode_bundle([b"x"] * 3), TileMismatch),
        (encode_bundle([b"x"] * 4), TileMismatch),
        (b"\x00\x09x", None),
    ],
)
def test_reading_raises_and_names_the_object(maker, memory, data, error):
    maker.sequencer(memory).append(batch(4))
    memory.put("tile/entries/000.p/4", data)
    with pytest.raises(error or Exception) as caught:
        read(maker, memory)
    assert caught.value.place == "tile/entries/000.p/4"
    assert caught.value.exit_code == Exit.INTEGRITY


def test_a_root_that_nothing_has_names_the_checkpoint(maker, memory):
    maker.sequencer(memory).append(batch(4))
    memory.put("checkpoint", signed(maker, 4, bytes(32)))
    with pytest.raises(RootMismatch) as caught:
        read(maker, memory)
    assert caught.value.place == "checkpoint"


def signed(maker, size, root):
    note = Checkpoint(maker.origin, size, root)
    return sign_checkpoint(note, maker.key.public_key, maker.private_key.sign)


def test_the_full_bundle_does_for_a_partial_one_that_is_gone(maker, memory):
    log = maker.sequencer(memory)
    log.append(first := batch(200))
    head = memory.current()["checkpoint"]
    log.append(batch(100))
    memory.put("checkpoint", head)
    memory.put("tile/entries/000.p/200", None)
    assert read(maker, memory).entries == tuple(first)


def test_a_head_that_contradicts_what_was_read_before(maker, memory):
    log, copy = maker.sequencer(memory), LogCopy()
    log.append(batch(3))
    old = memory.current()["checkpoint"]
    log.append(batch(2))
    assert read(maker, memory, copy).size == 5
    good = memory.current()["checkpoint"]
    memory.put("checkpoint", old)
    assert read(maker, memory).size == 3, "a first reader is fooled"
    with pytest.raises(LogRolledBack) as caught:
        read(maker, memory, copy)
    assert (caught.value.place, caught.value.exit_code) == ("checkpoint", Exit.INTEGRITY)
    memory.put("checkpoint", good)
    for size in (5, 6, 300):
        maker.sequencer(fork := type(memory)()).append(batch(size))
        assert read(maker, fork).size == size, "a first reader is fooled"
        with pytest.raises(CheckpointForked):
            read(maker, fork, copy)
    assert read(maker, memory, copy).size == 5
    memory.put("checkpoint", None)
    with pytest.raises(LogObjectMissing):
        read(maker, type(memory)(), copy)


def test_a_copy_of_another_log_is_dropped(maker, memory):
    copy = LogCopy()
    maker.sequencer(memory).append(batch(5))
    read(maker, memory, copy)
    other = type(maker)()
    other.sequencer(theirs := type(memory)()).append(one := batch(1))
    assert read(other, theirs, copy).entries == tuple(one)
    assert copy.checkpoints() == {}


def test_two_readers_with_one_copy_raise_no_alarm(maker, memory, tmp_path):
    """Threads with one copy, and with one file, while the log grows."""
    log = maker.sequencer(memory)
    log.append(batch(250))
    ending = threading.Event()

    def grow():
        while not ending.is_set():
            log.append(batch(3))

    shared = LogCopy(tmp_path / "copy")

    def look(number):
        copy = shared if number % 2 else LogCopy(tmp_path / "copy")
        for turn in range(12):
            if turn % 3:
                view = read(maker, memory, copy)
            else:
                rows, view = check_log(memory, maker.vkey, maker.origin, copy)
                assert [row for row in rows if not row.ok] == []
            assert view.entries == tuple(log.memory.entries(0, view.size))

    with ThreadPoolExecutor(5) as pool:
        growing = pool.submit(grow)
        try:
            for found in [pool.submit(look, number) for number in range(4)]:
                found.result()
        finally:
            ending.set()
        growing.result()


def test_readers_that_begin_one_copy_at_once_raise_no_alarm(maker, memory, tmp_path):
    log = maker.sequencer(memory)
    log.append(batch(300))
    readers = 6
    together = threading.Barrier(readers)

    def begin(path):
        together.wait()
        assert read(maker, memory, LogCopy(path)).size == 300
        assert LogCopy(path).edge.size == 300

    with ThreadPoolExecutor(readers) as pool:
        for turn in range(15):
            list(pool.map(begin, [tmp_path / f"copy-{turn}"] * readers))


def look_often(folder, vkey, origin, copy):
    for _ in range(20):
        read_log(DirectoryStore(folder), vkey, origin, LogCopy(copy))


def test_processes_with_one_copy_raise_no_alarm(maker, tmp_path):
    log = maker.sequencer(DirectoryStore(tmp_path / "log"))
    log.append(batch(5))
    context = multiprocessing.get_context("fork")
    arguments = (tmp_path / "log", maker.vkey, maker.origin, tmp_path / "copy")
    readers = [context.Process(target=look_often, args=arguments) for _ in range(3)]
    for reader in readers:
        reader.start()
    while any(reader.is_alive() for reader in readers):
        log.append(batch(2))
    for reader in readers:
        reader.join()
    assert [reader.exitcode for reader in readers] == [0, 0, 0]
    assert LogCopy(tmp_path / "copy").size > 5


@pytest.mark.parametrize(
    "damage",
    [
        "DELETE FROM entry WHERE place = 2",
        "DELETE FROM entry WHERE place = 4",
        "DELETE FROM tile",
        "UPDATE tile SET data = x'00'",
        "DROP TABLE entry",
    ],
)
def test_a_damaged_copy_is_told_from_a_log_that_is_wrong(maker, memory, tmp_path, damage):
    log, copy = maker.sequencer(memory), LogCopy(tmp_path / "copy")
    log.append(batch(5))
    read(maker, memory, copy)
    copy._db.execute(damage)
    copy.close()
    log.append(batch(1))
    with pytest.raises(LogCopyDamaged) as caught:
        read(maker, memory, LogCopy(tmp_path / "copy"))
    assert caught.value.place == str(tmp_path / "copy")


@pytest.mark.parametrize(
    "damage", ["UPDATE entry SET data = x'00'", "UPDATE tile SET data = x'{}'"]
)
def test_a_copy_with_other_entries_is_told_from_a_fork(maker, memory, tmp_path, damage):
    log, copy = maker.sequencer(memory), LogCopy(tmp_path / "copy")
    log.append(batch(5))
    read(maker, memory, copy)
    copy._db.execute(damage.format("00" * 160))
    copy.close()
    log.append(batch(1))
    with pytest.raises(LogCopyDamaged):
        read(maker, memory, LogCopy(tmp_path / "copy"))


@pytest.mark.parametrize("data", [b"junk" * 2000, b"SQLite format 3\x00" + b"\xff" * 4000])
def test_a_file_that_is_no_copy_is_told_as_such(tmp_path, data):
    (tmp_path / "copy").write_bytes(data)
    with pytest.raises(LogCopyDamaged, match="Move the file away"):
        _ = LogCopy(tmp_path / "copy").edge


def test_an_earlier_checkpoint_is_a_prefix_or_not(maker, memory):
    log, copy = maker.sequencer(memory), LogCopy()
    log.append(batch(3))
    note = memory.current()["checkpoint"]
    earlier = open_checkpoint(note, maker.key, maker.origin, place="kept")
    log.append(batch(300))
    read(maker, memory, copy)
    for each in (earlier, Checkpoint(maker.origin, 0, EMPTY_ROOT)):
        check_prefix(copy, each, "kept")
    with pytest.raises(CheckpointForked, match="kept"):
        check_prefix(copy, Checkpoint(maker.origin, 3, bytes(32)), "kept")
    with pytest.raises(LogRolledBack, match="kept"):
        check_prefix(copy, Checkpoint(maker.origin, 304, earlier.root), "kept")


def test_a_wrong_place_key_or_origin_is_said_as_such(maker, memory):
    with pytest.raises(LogNotFound) as caught:
        read(maker, memory)
    assert caught.value.exit_code == Exit.BAD_INPUT
    maker.sequencer(memory).append(batch(1))
    for vkey in ("nonsense", ""):
        with pytest.raises(KeyMalformed):
            read_log(memory, vkey, maker.origin)
    with pytest.raises(OriginMismatch):
        read_log(memory, maker.vkey, "acme-audit/other")


def test_storage_that_does_not_answer_is_no_integrity_failure(maker, memory, failing):
    maker.sequencer(memory).append(batch(1))
    for at in (1, 2):
        with pytest.raises(LogUnreadable) as caught:
            read(maker, failing(memory, at, TimeoutError(), after=False))
        assert caught.value.exit_code == Exit.FAILED


def test_a_folder_is_read_as_files_alone(maker, tmp_path):
    """A copy of a log comes from somebody: a pipe in it is no object, and a folder is none."""
    store = DirectoryStore(tmp_path)
    maker.sequencer(store).append(batch(2))
    (tmp_path / "tile/0/000.p/2").unlink()
    (tmp_path / "tile/0/000.p/2").mkdir()
    assert read(maker, store).size == 2
    (tmp_path / "tile/entries/000.p/2").unlink()
    os.mkfifo(tmp_path / "tile/entries/000.p/2")
    with pytest.raises(LogObjectMissing):
        read(maker, store)
