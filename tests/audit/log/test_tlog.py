"""The arithmetic against RFC 6962's own recursive definitions and the spec's examples."""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from strongroom.audit.log import tlog
from strongroom.audit.log.errors import EntryBundleMalformed, EntryTooLarge


def mth(entries):
    """RFC 6962 section 2.1, word for word."""
    if not entries:
        return hashlib.sha256(b"").digest()
    if len(entries) == 1:
        return hashlib.sha256(b"\x00" + entries[0]).digest()
    k = 1
    while k * 2 < len(entries):
        k *= 2
    return hashlib.sha256(b"\x01" + mth(entries[:k]) + mth(entries[k:])).digest()


def numbered(count):
    return [b"entry %d" % i for i in range(count)]


@pytest.mark.parametrize(
    ("index", "width", "path"),
    [
        (1234067, 256, "tile/0/x001/x234/067"),
        (0, 256, "tile/0/000"),
        (999, 17, "tile/0/999.p/17"),
        (1000, 1, "tile/0/x001/000.p/1"),
    ],
)
def test_tile_paths_are_those_of_the_specification(index, width, path):
    assert tlog.tile_path(0, index, width) == path


def test_the_specifications_example_tree_has_its_tiles():
    edge, tiles = tlog.Edge().extend([b"x"] * 70_000)
    hash_tiles = {path for path in tiles if not path.startswith("tile/entries")}
    full = {path for path in hash_tiles if ".p/" not in path}
    assert len([path for path in full if path.startswith("tile/0/")]) == 273
    assert [path for path in full if path.startswith("tile/1/")] == ["tile/1/000"]
    assert hash_tiles - full == {
        "tile/0/273.p/112",
        "tile/1/001.p/17",
        "tile/2/000.p/1",
    }
    assert all(len(data) == 8192 for path, data in tiles.items() if path in full)
    assert edge.size == 70_000


@pytest.mark.parametrize("size", [0, 1, 2, 3, 255, 256, 257, 511, 512, 513, 1000])
def test_the_edge_has_the_root_of_the_definition(size):
    edge, _ = tlog.Edge().extend(numbered(size))
    assert edge.root() == mth(numbered(size))


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(0, 300), max_size=8))
def test_growing_in_any_steps_gives_the_same_edge_and_tiles(steps):
    entries = numbered(sum(steps))
    edge, written = tlog.Edge(), {}
    at = 0
    for step in steps:
        edge, tiles = edge.extend(entries[at : at + step])
        assert not set(tiles) & set(written), "a tile would be written twice"
        written |= tiles
        at += step
    whole, wanted = tlog.Edge().extend(entries)
    assert edge.root() == whole.root()
    assert edge.tail == whole.tail
    assert {path: written[path] for path in wanted} == wanted
    for _, path, width in tlog.edge_tiles(len(entries)):
        assert len(written[path]) == 32 * width


def test_an_append_hashes_the_new_entries_only(monkeypatch):
    edge, _ = tlog.Edge().extend(numbered(65_536 + 300))
    calls = 0
    real = tlog.node_hash

    def counting(left, right):
        nonlocal calls
        calls += 1
        return real(left, right)

    monkeypatch.setattr(tlog, "node_hash", counting)
    grown, _ = edge.extend([b"one more"])
    grown.root()
    assert calls < 300


def test_bundles_round_trip_and_refuse_what_is_none():
    entries = [b"", b"a", b"b" * 65_534]
    bundle = tlog.encode_bundle(entries)
    assert tlog.decode_bundle(bundle, "here") == entries
    for broken in (bundle[:-1], bundle + b"\x00", b"\x00"):
        with pytest.raises(EntryBundleMalformed, match="here"):
            tlog.decode_bundle(broken, "here")
    with pytest.raises(EntryTooLarge):
        tlog.encode_bundle([b"c" * 65_535])
