"""Reading a log back: all is checked, each bad object is named, and the right one."""

from __future__ import annotations

import secrets

import pytest

from strongroom.audit.log.errors import (
    BatchMismatch,
    CheckpointForked,
    KeyMalformed,
    LogNotFound,
    LogObjectMissing,
    LogRolledBack,
    LogUnreadable,
    OriginMismatch,
    StrayObject,
    TileMismatch,
)
from strongroom.audit.log.tlog import Edge, decode_bundle, encode_bundle
from strongroom.audit.log.verify import check_log, read_log
from strongroom.errors import Exit


def fill(maker, store, *counts):
    log = maker.writer(store)
    for count in counts:
        log.append([secrets.token_hex(8).encode() for _ in range(count)])


def bad(maker, store):
    rows = check_log(store, maker.vkey, maker.origin, keys=store.keys())
    return {row.object for row in rows if not row.ok}


def test_every_object_of_a_good_log_is_checked(maker, memory):
    fill(maker, memory, 3, 1, 252, 1, 300)
    rows = check_log(memory, maker.vkey, maker.origin, keys=memory.keys())
    assert all(row.ok for row in rows)
    assert {row.object for row in rows} == set(memory.keys())


def test_each_flipped_byte_names_exactly_its_object(maker, memory):
    fill(maker, memory, 3, 1, 2)
    for key, (good, etag) in list(memory.objects.items()):
        for at in range(len(good)):
            broken = bytearray(good)
            broken[at] ^= 1 << at % 8
            memory.objects[key] = (bytes(broken), etag)
            assert bad(maker, memory) == {key}, f"{key} byte {at}"
        memory.objects[key] = (good, etag)
    assert bad(maker, memory) == set()


def test_flips_in_a_large_log_name_exactly_their_objects(maker, memory):
    fill(maker, memory, 200, 100, 500, 30)
    for key, (good, etag) in list(memory.objects.items()):
        broken = bytearray(good)
        broken[len(good) // 2] ^= 1
        memory.objects[key] = (bytes(broken), etag)
        assert bad(maker, memory) == {key}
        memory.objects[key] = (good, etag)


def test_each_missing_object_is_named(maker, memory):
    fill(maker, memory, 3, 1, 260, 2)
    for key in memory.keys():  # noqa: SIM118
        good = memory.objects.pop(key)
        assert bad(maker, memory) == {key}
        with pytest.raises(LogObjectMissing) as caught:
            read_log(memory, maker.vkey, maker.origin)
        assert (caught.value.place, caught.value.exit_code) == (key, Exit.INTEGRITY)
        memory.objects[key] = good


@pytest.mark.parametrize(
    ("key", "error"),
    [
        ("tile/entries/000.p/4", TileMismatch),
        ("tile/0/000.p/3", TileMismatch),
        ("batches/3", BatchMismatch),
        ("notes", StrayObject),
    ],
)
def test_reading_raises_and_names_the_object(maker, memory, key, error):
    fill(maker, memory, 3, 1)
    memory.objects[key] = (b"\x00\x01x", "0")
    with pytest.raises(error) as caught:
        read_log(memory, maker.vkey, maker.origin, keys=memory.keys())
    assert caught.value.place == key
    assert caught.value.exit_code == Exit.INTEGRITY


def test_several_bad_objects_are_all_named(maker, memory):
    fill(maker, memory, 3, 1, 2)
    keys = {"tile/0/000.p/3", "batches/4", "checkpoints/4", "tile/entries/000.p/6"}
    for key in keys:
        data = bytearray(memory.objects[key][0])
        data[-2] ^= 1
        memory.objects[key] = (bytes(data), "0")
    assert bad(maker, memory) == keys


def test_an_entry_altered_in_every_place_is_still_pinned_by_the_root(maker, memory):
    """Whichever two of the three places were altered alike, the signed root tells which."""
    fill(maker, memory, 4)
    pristine = dict(memory.objects)
    keys = ["tile/entries/000.p/4", "batches/0", "tile/0/000.p/4"]
    forged = decode_bundle(pristine["batches/0"][0], "")
    forged[1] = b"forged"
    _, tiles = Edge().extend(forged)
    forgery = {"batches/0": encode_bundle(forged)} | tiles
    for spared in keys:
        memory.objects = dict(pristine)
        altered = set(keys) - {spared}
        for key in altered:
            memory.objects[key] = (forgery[key], "0")
        assert bad(maker, memory) == altered
    memory.objects = dict(pristine) | {key: (forgery[key], "0") for key in keys}
    assert "checkpoint" in bad(maker, memory)


def test_a_fork_signed_with_the_stolen_key_is_found(maker, memory):
    """Positive control: the fork on its own, with everything in place, is a valid log."""
    fork = type(memory)()
    fill(maker, memory, 2, 2)
    fill(maker, fork, 2, 2)
    assert bad(maker, fork) == set()
    memory.objects["checkpoints/2"] = fork.objects["checkpoints/2"]
    with pytest.raises(CheckpointForked, match="checkpoints/2"):
        read_log(memory, maker.vkey, maker.origin)


def test_a_checkpoint_rolled_back_by_two_is_found(maker, memory):
    fill(maker, memory, 2)
    old = memory.objects["checkpoint"]
    fill(maker, memory, 1, 1)
    memory.objects["checkpoint"] = old
    assert bad(maker, memory) == {"checkpoint"}
    with pytest.raises(LogRolledBack):
        read_log(memory, maker.vkey, maker.origin)


def test_a_checkpoint_rolled_back_by_one_hides_nothing(maker, memory):
    """It looks like a writer that was killed before its last call, so it is no failure; what the
    signed copy covers is read all the same. Control: without the copy it is pending."""
    fill(maker, memory, 2)
    old = memory.objects["checkpoint"]
    fill(maker, memory, 1)
    whole = read_log(memory, maker.vkey, maker.origin)
    memory.objects["checkpoint"] = old
    assert bad(maker, memory) == set()
    assert read_log(memory, maker.vkey, maker.origin, keys=memory.keys()) == whole
    del memory.objects["checkpoints/3"]
    view = read_log(memory, maker.vkey, maker.origin, keys=memory.keys())
    assert (view.size, view.pending) == (2, 1)


def test_a_stored_checkpoint_of_a_fork_is_found_behind_the_signed_copy(maker, memory):
    fork = type(memory)()
    fill(maker, memory, 2, 1)
    fill(maker, fork, 2)
    memory.objects["checkpoint"] = fork.objects["checkpoint"]
    assert bad(maker, memory) == {"checkpoint"}
    with pytest.raises(CheckpointForked):
        read_log(memory, maker.vkey, maker.origin)


def test_a_log_that_grows_while_it_is_read_is_not_rolled_back(maker, memory):
    fill(maker, memory, 2)

    class Growing:
        """Two more batches are appended right after the checkpoint was read for the first time."""

        def __init__(self):
            self.grown = False

        def read(self, key):
            found = memory.read(key)
            if key == "checkpoint" and not self.grown:
                self.grown = True
                fill(maker, memory, 1, 1)
            return found

    view = read_log(Growing(), maker.vkey, maker.origin)
    assert (view.size, len(view.entries)) == (4, 4)
    assert read_log(memory, maker.vkey, maker.origin).size == 4


def test_an_unfinished_append_is_pending_and_no_failure(maker, memory):
    fill(maker, memory, 2)
    memory.create("batches/2", b"\x00\x01x")
    view = read_log(memory, maker.vkey, maker.origin, keys=memory.keys())
    assert (view.size, view.pending) == (2, 1)
    memory.objects["batches/2"] = (b"\x00\x09x", "0")
    assert bad(maker, memory) == {"batches/2"}


def test_a_wrong_place_key_or_origin_is_said_as_such(maker, memory):
    with pytest.raises(LogNotFound) as caught:
        read_log(memory, maker.vkey, maker.origin)
    assert caught.value.exit_code == Exit.BAD_INPUT
    fill(maker, memory, 1)
    with pytest.raises(KeyMalformed):
        read_log(memory, "nonsense", maker.origin)
    with pytest.raises(OriginMismatch):
        read_log(memory, maker.vkey, "acme-audit/other")


def test_storage_that_does_not_answer_is_no_integrity_failure(maker, memory, failing):
    fill(maker, memory, 1)
    store = failing(memory, 3, TimeoutError(), after=False)
    with pytest.raises(LogUnreadable) as caught:
        read_log(store, maker.vkey, maker.origin)
    assert caught.value.exit_code == Exit.FAILED
    rows = check_log(failing(memory, 3, TimeoutError(), after=False), maker.vkey, maker.origin)
    assert "SR-AUDIT-001" in rows[-1].detail
