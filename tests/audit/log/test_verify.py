"""Reading a log back: all is checked, each bad object is named, and no other."""

from __future__ import annotations

import functools
import secrets

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from strongroom.audit.log.copy import LogCopy
from strongroom.audit.log.errors import (
    CheckpointForked,
    LogCopyDamaged,
    LogNotFound,
    LogObjectMissing,
    LogRolledBack,
)
from strongroom.audit.log.note import Checkpoint, sign_checkpoint
from strongroom.audit.log.store import DirectoryStore
from strongroom.audit.log.tlog import covered, decode_bundle, encode_bundle, leaf_hash, subtree_root
from strongroom.audit.log.verify import check_log
from support.logs import LogMaker, MemoryStore


def fill(maker, store, *counts, memory=None):
    log = maker.sequencer(store, memory)
    for count in counts:
        log.append([secrets.token_hex(8).encode() for _ in range(count)])
    return log


def rows_of(maker, store, copy=None, **more):
    return check_log(store, maker.vkey, maker.origin, copy, **more)[0]


def bad(maker, store, copy=None, **more):
    return {row.object for row in rows_of(maker, store, copy, **more) if not row.ok}


def noted(maker, store, copy=None):
    rows = rows_of(maker, store, copy)
    assert [row for row in rows if not row.ok] == []
    return {(row.name, row.object) for row in rows if row.noted}


def codes(rows):
    return {row.detail.partition(":")[0] for row in rows if not row.ok}


def under_the_head(log):
    """What the log's checkpoint covers, by name."""
    return covered(list(log.memory.entries()))


def renewed(memory, objects=None):
    """The same objects in a store that keeps no versions of before."""
    found = type(memory)()
    for key, data in (memory.current() if objects is None else objects).items():
        found.put(key, data)
    return found


def fork_of(maker, memory, entries):
    """Another history under the same key, whole in every object."""
    other = type(memory)()
    maker.sequencer(other).append(entries)
    return other


def test_every_object_of_a_good_log_is_accounted_for(maker, memory):
    log = fill(maker, memory, 3, 1, 252, 1, 300)
    rows, view = check_log(memory, maker.vkey, maker.origin)
    assert [row for row in rows if not row.ok or row.noted] == []
    assert {row.object for row in rows} == {"checkpoint", *under_the_head(log)}
    (left,) = (row.detail for row in rows if row.name == "superseded")
    beside = set(memory.keys()) - {row.object for row in rows}
    assert left == f"{len(beside)} objects of earlier sizes"
    assert (view.size, view.entries) == (557, tuple(log.memory.entries()))


def test_each_flipped_byte_names_exactly_its_object(maker, memory):
    log = fill(maker, memory, 3, 1, 2)
    log_objects = {"checkpoint", *under_the_head(log)}
    for key, good in memory.current().items():
        for at in range(len(good)):
            broken = bytearray(good)
            broken[at] ^= 1 << at % 8
            changed = renewed(memory, memory.current() | {key: bytes(broken)})
            rows = rows_of(maker, changed)
            named = {row.object for row in rows if not row.ok}
            if key in log_objects:
                assert named == {key}, f"{key} byte {at}"
            elif key.startswith("next/"):
                assert named == set()
            else:
                found = {row.object for row in rows if row.noted}
                assert (named, found) == (set(), {key}), f"{key} byte {at}"


@pytest.mark.parametrize("change", ["flipped", "cut", "longer", "empty", "gone"])
def test_a_change_in_a_large_log_names_exactly_its_object(maker, memory, change):
    log = fill(maker, memory, 200, 100, 500, 30)
    for key in ("checkpoint", *under_the_head(log)):
        good = memory.current()[key]
        at = len(good) // 2
        changed = {
            "flipped": good[:at] + bytes([good[at] ^ 1]) + good[at + 1 :],
            "cut": good[:-1],
            "longer": good + b"\x00\x00",
            "empty": b"",
            "gone": None,
        }[change]
        memory.put(key, changed)
        assert bad(maker, memory) == {key}
        memory.put(key, good)
    assert bad(maker, memory) == set()


MAKER = LogMaker()


@functools.cache
def filled(counts):
    """A log that examples share, since filling one takes longer than checking it."""
    memory = MemoryStore()
    return fill(MAKER, memory, *counts), memory


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.integers(1, 400), min_size=1, max_size=4), st.randoms(use_true_random=False))
def test_whatever_is_changed_is_named_and_nothing_else_is(counts, draw):
    """Any number of objects at once, so long as one copy of each leaf and the head are left."""
    log, memory = filled(tuple(counts))
    whole = memory.current()
    under = sorted(under_the_head(log))
    places = {}
    for path in under:
        level, _, place = path.removeprefix("tile/").partition("/")
        places.setdefault(place if level in ("entries", "0") else path, []).append(path)
    changed = dict(whole)
    victims = set()
    for group in places.values():
        if draw.random() < 0.4:
            victims.add(draw.choice(group))
    above = {path for path in victims if path.split("/")[1] not in ("entries", "0")}
    kinds = {path.split("/")[1] for path in victims - above}
    if above and len(kinds) > 1:
        victims -= above  # what tells the two copies apart has to be there
    for path in victims:
        data = bytearray(whole[path])
        if draw.random() < 0.3:
            del changed[path]
        elif draw.random() < 0.3:
            changed[path] = bytes(data[: draw.randrange(len(data))])
        else:
            data[draw.randrange(len(data))] ^= 1 << draw.randrange(8)
            changed[path] = bytes(data)
    assert bad(MAKER, renewed(memory, changed)) == victims


def test_a_full_object_does_for_a_partial_one_that_is_gone(maker, memory):
    log = fill(maker, memory, 200)
    head = memory.current()["checkpoint"]
    parts = sorted(under_the_head(log))
    assert parts == ["tile/0/000.p/200", "tile/entries/000.p/200"]
    log.append([b"more"] * 100)
    later = memory.current() | {"checkpoint": head}
    for part in parts:
        del later[part]
    store = renewed(memory, later)
    rows, view = check_log(store, maker.vkey, maker.origin)
    assert [row for row in rows if not row.ok] == []
    assert view.entries == tuple(log.memory.entries(0, 200))
    for name in ("tile/entries/000", "tile/0/000"):
        for at in (0, 31):
            broken = bytearray(later[name])
            broken[at] ^= 1
            assert bad(maker, renewed(memory, later | {name: bytes(broken)})) == {name}
    whole = later["tile/entries/000"]
    beyond = whole[:-1] + bytes([whole[-1] ^ 1])
    assert bad(maker, renewed(memory, later | {"tile/entries/000": beyond})) == set()
    del later["tile/0/000"]
    assert bad(maker, renewed(memory, later)) == {"tile/0/000.p/200"}


def test_a_copy_whose_checkpoint_is_older_than_its_other_objects_verifies(maker, memory, tmp_path):
    """Whoever copies a log that grows gets its objects at different times."""
    log = fill(maker, memory, 3, 250)
    head = memory.current()["checkpoint"]
    log.append([b"late"] * 10)
    store = DirectoryStore(tmp_path)
    for key, data in (memory.current() | {"checkpoint": head}).items():
        store.create(key, data)
    rows, view = check_log(store, maker.vkey, maker.origin)
    assert [row for row in rows if not row.ok] == []
    assert view.size == 253
    assert {row.object for row in rows if row.noted} == {
        "next/253",
        "tile/0/000",
        "tile/0/001.p/7",
        "tile/1/000.p/1",
        "tile/entries/000",
        "tile/entries/001.p/7",
    }


def test_what_is_not_in_the_log_is_named_and_fails_nothing(maker, memory):
    fill(maker, memory, 3, 1)
    planted = {
        "notes.txt": b"hello",
        "next/4": b"claimed",
        "next/\u0663": b"a digit that is none of ours",
        "next/03": b"not how a claim is called",
        "tile/entries/000.p/5": b"\x00\x01x",
        "tile/entries/x000/000.p/3": memory.current()["tile/entries/000.p/3"],
        "tile/0/000.p/256": bytes(32 * 256),
        "tile/00/000.p/3": memory.current()["tile/0/000.p/3"],
        "tile/9/000.p/1": bytes(32),
        "batches/3": b"\x00\x01x",
    }
    for key, data in planted.items():
        memory.put(key, data)
    assert noted(maker, memory) == {("not in the log", key) for key in planted}
    memory.put("tile/entries/000.p/3", b"\x00\x01x")
    memory.put("tile/0/000.p/3", None)
    changed = {("not in the log", f"tile/{level}/000.p/3") for level in ("entries", "0")}
    assert noted(maker, memory) == {("not in the log", key) for key in planted} | changed


def test_what_was_written_over_and_put_right_is_named(maker, memory):
    log = fill(maker, memory, 3)
    for key in under_the_head(log):
        good = memory.current()[key]
        memory.put(key, b"planted")
        memory.put(key, good)
    assert noted(maker, memory) == {("written over", key) for key in under_the_head(log)}


def test_an_object_of_an_earlier_size_that_was_changed_is_named(maker, memory):
    """In a store that keeps no versions its digest is all that tells."""
    fill(maker, memory, 3, 1)
    changed = renewed(memory, memory.current() | {"tile/entries/000.p/3": b"\x00\x01x"})
    assert noted(maker, changed) == {("not in the log", "tile/entries/000.p/3")}


@pytest.mark.parametrize("back", [1, 2, 3])
def test_a_rolled_back_checkpoint_is_told_by_the_versions_behind_it(maker, memory, back):
    """Control: where those can be removed for good, a first reader sees nothing."""
    notes = []
    log = fill(maker, memory)
    for _ in range(4):
        log.append([secrets.token_hex(8).encode()])
        notes.append(memory.current()["checkpoint"])
    memory.put("checkpoint", notes[3 - back])
    rows = rows_of(maker, memory)
    assert codes(rows) == {"SR-AUDIT-012"}
    assert bad(maker, memory) == {
        f"checkpoint?versionId={v}" for v in versions_of(memory)[-back - 1 : -1]
    }
    memory.forget("checkpoint", 1 + back)
    assert {name for name, _ in noted(maker, memory)} == {"not in the log"}


def versions_of(memory):
    return [version for version, _ in memory.objects["checkpoint"]]


def test_no_number_of_old_checkpoints_hides_a_newer_one(maker, memory):
    """Each is validly signed, and the newest ones look like a log that grows."""
    log = fill(maker, memory)
    notes = []
    for _ in range(60):
        log.append([secrets.token_hex(8).encode()])
        notes.append(memory.current()["checkpoint"])
    for _ in range(40):
        for note in notes[:-1]:
            memory.put("checkpoint", note)
    assert codes(rows_of(maker, memory)) == {"SR-AUDIT-012"}


def test_a_rollback_that_the_releaser_put_right_is_noted(maker, memory):
    log = fill(maker, memory, 2, 1)
    old = memory.objects["checkpoint"][0][1]
    memory.put("checkpoint", old)
    log.append([b"the next"])
    (row,) = (row for row in rows_of(maker, memory) if row.noted)
    assert (row.ok, row.name, row.object) == (True, "rolled back", "checkpoint?versionId=9")
    assert row.detail == "to size 2 from 3, and put right since"


def test_junk_for_a_checkpoint_is_named_while_an_unsigned_head_fails(maker, memory):
    log = fill(maker, memory, 2)
    good = memory.current()["checkpoint"]
    memory.put("checkpoint", b"junk")
    assert codes(rows_of(maker, memory)) == {"SR-AUDIT-004"}
    memory.put("checkpoint", good)
    (junk,) = (each for each, data in memory.objects["checkpoint"] if data == b"junk")
    assert noted(maker, memory) == {("not in the log", f"checkpoint?versionId={junk}")}
    assert log.memory.size == 2


def test_a_fork_signed_with_the_stolen_key_is_told_by_an_earlier_version(maker, memory):
    """Control: the fork on its own, with everything in place, is a valid log."""
    fill(maker, memory, 2, 2)
    fork = fork_of(maker, memory, [b"x", b"y", b"z", b"w", b"v"])
    assert bad(maker, fork) == set()
    for key, data in fork.current().items():
        memory.put(key, data)
    rows = rows_of(maker, memory)
    assert codes(rows) == {"SR-AUDIT-011"}
    assert len([row for row in rows if not row.ok]) == 2, "one for each checkpoint of before"


def signed(maker, size, root):
    note = Checkpoint(maker.origin, size, root)
    return sign_checkpoint(note, maker.key.public_key, maker.private_key.sign)


def test_entries_that_were_never_under_a_root_name_checkpoint_and_bundle(maker, memory):
    """An entry altered in both places, under a root that nobody can sign anew."""
    log = fill(maker, memory, 4)
    forged = list(log.memory.entries())
    forged[1] = b"forged"
    changed = renewed(memory, memory.current() | covered(forged))
    assert bad(maker, changed) == {"checkpoint"}
    leaves = [leaf_hash(entry) for entry in forged]
    changed.put("checkpoint", signed(maker, 4, subtree_root(leaves)))
    assert bad(maker, changed) == {f"checkpoint?versionId={versions_of(changed)[0]}"}


def test_what_a_reader_remembers_is_held_against_the_head(maker, memory, tmp_path):
    log = fill(maker, memory, 3, 1)
    copy = LogCopy(tmp_path / "copy")
    assert bad(maker, memory, copy) == set()
    log.append([b"more"])
    rows = rows_of(maker, memory, copy)
    (row,) = (row for row in rows if row.name == "remembered")
    assert (row.ok, row.detail) == (True, "extends size 4, seen before")
    assert copy.size == 5
    # A first reader is fooled where no version is left; this one is not, nor after a restart.
    gone = renewed(memory, memory.current() | {"checkpoint": memory.objects["checkpoint"][0][1]})
    assert bad(maker, gone) == set()
    for again in (copy, LogCopy(tmp_path / "copy")):
        assert codes(rows_of(maker, gone, again)) == {"SR-AUDIT-012"}
    fork = fork_of(maker, memory, [b"fork %d" % i for i in range(9)])
    assert bad(maker, fork) == set()
    assert codes(rows_of(maker, fork, copy)) == {"SR-AUDIT-011"}
    assert codes(rows_of(maker, fork_of(maker, memory, [b"x"] * 5), copy)) == {"SR-AUDIT-011"}
    assert copy.size == 5, "and nothing of the fork is remembered"
    assert bad(maker, memory, copy) == set()


def test_a_log_that_was_removed_is_missed_by_whoever_saw_it(maker, memory):
    copy = LogCopy()
    fill(maker, memory, 3)
    assert bad(maker, memory, copy) == set()
    nothing = type(memory)()
    assert codes(rows_of(maker, nothing)) == {LogNotFound.code}
    assert codes(rows_of(maker, nothing, copy)) == {LogObjectMissing.code}
    memory.put("checkpoint", None)
    assert codes(rows_of(maker, memory)) == {LogObjectMissing.code}


def test_a_copy_that_was_changed_is_no_failure_of_the_log(maker, memory, tmp_path):
    fill(maker, memory, 3)
    copy = LogCopy(tmp_path / "copy")
    assert bad(maker, memory, copy) == set()
    copy._db.execute("UPDATE entry SET data = ? WHERE place = 1", (b"changed",))
    copy = LogCopy(tmp_path / "copy")
    with pytest.raises(LogCopyDamaged, match="a reader reads the log again"):
        check_log(memory, maker.vkey, maker.origin, copy)


def test_earlier_checkpoints_that_somebody_kept(maker, memory):
    log = fill(maker, memory, 2)
    notes = {"two": memory.current()["checkpoint"]}
    log.append([b"x"])
    notes["three"] = memory.current()["checkpoint"]
    short = renewed(memory, memory.current() | {"checkpoint": notes["two"]})
    assert bad(maker, memory, since=notes) == set()
    assert bad(maker, short) == set()
    rows = rows_of(maker, short, since=notes)
    assert (codes(rows), bad(maker, short, since=notes)) == ({LogRolledBack.code}, {"three"})
    fork = fork_of(maker, memory, [b"x"] * 5)
    assert codes(rows_of(maker, fork, since=notes)) == {CheckpointForked.code}
    assert bad(maker, fork, since=notes) == {"two", "three"}
    assert bad(maker, memory, since={"junk": b"junk"}) == {"junk"}
    other = type(maker)()
    fill(other, alien := type(memory)(), 2)
    rows = rows_of(maker, memory, since={"alien": alien.current()["checkpoint"]})
    assert codes(rows) == {"SR-AUDIT-005"}


class Growing:
    """A log that grows by two appends whenever something of it was read."""

    def __init__(self, memory, log):
        self._memory, self._log, self.on = memory, log, True

    def __getattr__(self, name):
        def call(*args):
            found = getattr(self._memory, name)(*args)
            found = list(found) if name == "versions" else found
            if self.on:
                self._log.append([secrets.token_hex(8).encode()])
                self._log.append([secrets.token_hex(8).encode()])
            return found

        return call


def test_a_log_that_grows_while_it_is_checked_raises_no_alarm(maker, memory):
    log = fill(maker, memory, 250)
    copy = LogCopy()
    for _ in range(4):
        rows, view = check_log(Growing(memory, log), maker.vkey, maker.origin, copy)
        assert [row for row in rows if not row.ok or row.name == "rolled back"] == []
        assert view.entries == tuple(log.memory.entries(0, view.size))


def test_storage_that_does_not_answer_is_told_as_such(maker, memory, failing):
    fill(maker, memory, 1)
    for at in range(1, 5):  # listing, head, what is under it, earlier heads
        rows, view = check_log(
            failing(memory, at, TimeoutError(), after=False), maker.vkey, maker.origin
        )
        assert "SR-AUDIT-001" in rows[-1].detail
        assert view is None


def test_an_entry_of_a_length_that_no_writer_uses_is_named(maker, memory):
    log = fill(maker, memory, 1)
    long = (65_535).to_bytes(2, "big") + bytes(65_535)
    changed = renewed(memory, memory.current() | {"tile/entries/000.p/1": long})
    assert bad(maker, changed) == {"tile/entries/000.p/1"}
    assert decode_bundle(encode_bundle(log.memory.entries()), "") == list(log.memory.entries())
