"""Reading sealed shards: every record comes out once, and nothing that was touched opens."""

from __future__ import annotations

import json
import tracemalloc
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import msgspec
import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from strongroom.crypto.digests import sha256
from strongroom.crypto.errors import SegmentRefused
from strongroom.crypto.keyset import Keyset
from strongroom.crypto.manifest import (
    DatasetManifest,
    Shard,
    WrappedKeyset,
    encode_header,
    shard_identity,
    shard_name,
)
from strongroom.crypto.segments import HEADER_BYTES, SEGMENT_BYTES
from strongroom.enclave.channel.errors import NotCompressed, PlanMismatch, RecordCountWrong
from strongroom.enclave.rows.lines import Position, records
from strongroom.enclave.rows.shards import open_shard
from strongroom.trainer.data.rows import MAX_RECORD_BYTES

KEYSET = Keyset.generate()
WINDOW = memoryview(bytearray(SEGMENT_BYTES))


@dataclass
class SealedShard:
    """One sealed shard in memory with the manifest that pins it."""

    sealed: bytes
    manifest: DatasetManifest

    @property
    def shard(self) -> Shard:
        return self.manifest.shards[0]

    def pinned(self, **changes: Any) -> DatasetManifest:
        shard = msgspec.structs.replace(self.shard, **changes)
        return msgspec.structs.replace(self.manifest, shards=(shard,))


def seal_plain(plain: bytes, count: int, keyset: Keyset = KEYSET, name: str = "d") -> SealedShard:
    """``plain`` as a shard that says it holds ``count`` records."""
    sealed = bytes(keyset.streaming().seal(plain, shard_identity(name, keyset.key_id, 0, count)))
    shard = Shard(
        index=0,
        object=shard_name(0),
        header=encode_header(sealed[:HEADER_BYTES]),
        size_bytes=len(sealed),
        sha256=sha256(sealed),
        records=count,
        plaintext_bytes=len(plain),
    )
    wrapped = WrappedKeyset(
        kms="local", context={}, wrapped="w", key_id=keyset.key_id, commitment=keyset.commitment()
    )
    return SealedShard(
        sealed, DatasetManifest(name=name, records=count, keyset=wrapped, shards=(shard,))
    )


def seal_lines(lines: list[bytes]) -> SealedShard:
    return seal_plain(compress(b"".join(line + b"\n" for line in lines)), len(lines))


def compress(data: bytes, level: int = 1) -> bytes:
    return zstandard.ZstdCompressor(level=level).compress(data)


def pieces(sealed: bytes, sizes: list[int]) -> Iterator[memoryview]:
    """``sealed`` cut into these sizes, in one buffer that is written over each time."""
    buffer = bytearray(max([*sizes, 1 << 20]))
    at = 0
    turn = 0
    while at < len(sealed):
        size = min(sizes[turn % len(sizes)], len(sealed) - at) if sizes else len(sealed)
        buffer[:size] = sealed[at : at + size]
        yield memoryview(buffer)[:size]
        buffer[:size] = b"\xee" * size
        at += size
        turn += 1


def read(
    found: SealedShard,
    *,
    sealed: bytes | None = None,
    sizes: list[int] | None = None,
    manifest: DatasetManifest | None = None,
    keyset: Keyset = KEYSET,
    position: Position | None = None,
) -> list[bytes | None]:
    manifest = manifest or found.manifest
    data = found.sealed if sealed is None else sealed
    return list(
        open_shard(
            pieces(data, sizes or [1 << 20]),
            manifest,
            manifest.shards[0],
            keyset,
            WINDOW,
            position or Position(),
        )
    )


def noise(size: int, seed: int = 1) -> bytes:
    """Bytes that do not compress and hold no line end."""
    import random

    return random.Random(seed).randbytes(size).replace(b"\n", b"\r")


BIG = seal_lines([noise(700_000, seed) for seed in range(4)])
"""Three segments, since noise keeps its length."""


def test_records_come_in_order():
    lines = [json.dumps({"n": n}).encode() for n in range(1000)]
    assert read(seal_lines(lines)) == lines


def test_segments_are_joined():
    assert BIG.shard.size_bytes > 2 * SEGMENT_BYTES
    assert read(BIG) == [noise(700_000, seed) for seed in range(4)]


@settings(deadline=None, max_examples=25)
@given(st.lists(st.integers(1, 3 << 20), min_size=1, max_size=5))
def test_pieces_may_have_any_size(sizes):
    if sum(sizes) / len(sizes) < 1000:
        sizes = [*sizes, 1 << 19]
    assert read(BIG, sizes=sizes) == [noise(700_000, seed) for seed in range(4)]


def test_one_byte_at_a_time():
    lines = [b"a", b"", b"ccc"]
    assert read(seal_lines(lines), sizes=[1]) == lines


@settings(deadline=None, max_examples=50)
@given(st.lists(st.binary(max_size=300).map(lambda line: line.replace(b"\n", b"")), max_size=20))
def test_any_lines_survive(lines):
    assert read(seal_lines(lines), sizes=[77]) == lines


def test_blank_lines_are_records():
    """They are counted and shown; that they are faults is for ``decode_row`` to say."""
    position = Position()
    lines = [b"", b"x", b"", b"  "]
    assert read(seal_lines(lines), position=position) == lines
    assert position.line == 4


def test_the_last_line_end_may_be_missing():
    assert read(seal_plain(compress(b"one\ntwo"), 2)) == [b"one", b"two"]


def test_a_shard_without_records():
    assert read(seal_plain(compress(b""), 0)) == []


def test_several_frames_are_one_text():
    assert read(seal_plain(compress(b"one\ntw") + compress(b"o\nthree\n"), 3)) == [
        b"one",
        b"two",
        b"three",
    ]


def test_positions_are_those_of_the_record():
    position = Position()
    found = []
    for line in open_shard(
        pieces(BIG.sealed, [1 << 20]), BIG.manifest, BIG.shard, KEYSET, WINDOW, position
    ):
        found.append((position.line, position.segment))
        assert line is not None
    assert [line for line, _segment in found] == [1, 2, 3, 4]
    assert found[0][1] < found[-1][1] == 2


def test_the_window_is_used_again():
    """Plaintext lies in the window alone, which holds the last segment afterwards."""
    window = memoryview(bytearray(SEGMENT_BYTES))
    lines = list(
        open_shard(
            pieces(BIG.sealed, [1 << 20]), BIG.manifest, BIG.shard, KEYSET, window, Position()
        )
    )
    assert len(lines) == 4
    tail = KEYSET.streaming().open(BIG.sealed, shard_identity("d", KEYSET.key_id, 0, 4))[-1000:]
    assert bytes(tail) in bytes(window)


def test_records_outlive_the_window():
    window = memoryview(bytearray(SEGMENT_BYTES))
    found = seal_lines([b"first", b"second"])
    lines = list(
        open_shard(
            pieces(found.sealed, [64]), found.manifest, found.shard, KEYSET, window, Position()
        )
    )
    window[:] = bytes(SEGMENT_BYTES)
    assert lines == [b"first", b"second"]


@pytest.mark.parametrize("size", [MAX_RECORD_BYTES - 1, MAX_RECORD_BYTES, MAX_RECORD_BYTES + 1])
def test_the_longest_line(size):
    position = Position()
    found = read(seal_lines([b"a", b"x" * size, b"b"]), position=position)
    assert found[0] == b"a"
    assert found[2] == b"b"
    # Beyond the limit it may be whole or skipped: either way ``decode_row`` calls it too long.
    assert found[1] == b"x" * size or (found[1] is None and size > MAX_RECORD_BYTES)
    assert position.line == 3


@pytest.mark.parametrize("ended", [True, False])
def test_an_endless_line_is_skipped_in_constant_memory(ended):
    hundred = 100 << 20
    plain = b"first\n" + b"x" * hundred + (b"\nlast\n" if ended else b"")
    found = seal_plain(compress(plain), 3 if ended else 2)
    del plain
    tracemalloc.start()
    try:
        lines = read(found)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert lines == [b"first", None, *([b"last"] if ended else [])]
    assert peak < 24 << 20


def test_a_frame_that_wants_too_much_memory_is_refused():
    parameters = zstandard.ZstdCompressionParameters.from_level(3, window_log=27)
    compressor = zstandard.ZstdCompressor(compression_params=parameters).compressobj()
    plain = compressor.compress(noise(10 << 20)) + compressor.flush()
    with pytest.raises(NotCompressed):
        read(seal_plain(plain, 1))


@pytest.mark.parametrize(
    "plain",
    [
        b"row 17 says hello\n",
        compress(b"a\n") + b"garbage",
        compress(b"a\n" * 50)[:8] + b"\xff" * 40,
    ],
)
def test_what_is_not_zstd_is_refused(plain):
    with pytest.raises(NotCompressed) as caught:
        read(seal_plain(plain, 1))
    assert "hello" not in str(caught.value)


def test_a_flipped_bit_in_the_compressed_text_is_seen():
    parameters = zstandard.ZstdCompressionParameters.from_level(3, write_checksum=True)
    plain = bytearray(zstandard.ZstdCompressor(compression_params=parameters).compress(noise(5000)))
    plain[2500] ^= 1
    with pytest.raises(NotCompressed):
        read(seal_plain(bytes(plain), 1))


@pytest.mark.parametrize("said", [0, 1, 3])
def test_the_number_of_records_is_the_manifests(said):
    """Sealed under the wrong number, else the identity alone would refuse it."""
    with pytest.raises(RecordCountWrong) as caught:
        read(seal_plain(compress(b"one\ntwo\n"), said))
    assert caught.value.expected == str(said)


def test_another_number_in_the_manifest_does_not_open():
    found = seal_lines([b"one", b"two"])
    with pytest.raises(SegmentRefused):
        read(found, manifest=found.pinned(records=3))


@pytest.mark.parametrize("at", [HEADER_BYTES, 5000, SEGMENT_BYTES - 1, SEGMENT_BYTES + 5, -1])
def test_a_flipped_bit_is_refused(at):
    touched = bytearray(BIG.sealed)
    touched[at] ^= 1
    position = Position()
    with pytest.raises(SegmentRefused):
        read(BIG, sealed=bytes(touched), position=position)
    assert position.segment == (at if at >= 0 else len(BIG.sealed) - 1) // SEGMENT_BYTES


def test_no_byte_of_a_refused_segment_is_left():
    window = memoryview(bytearray(b"\xaa" * SEGMENT_BYTES))
    found = seal_lines([b"only line"])
    touched = bytearray(found.sealed)
    touched[-1] ^= 1
    with pytest.raises(SegmentRefused):
        list(
            open_shard(
                pieces(bytes(touched), [99]),
                found.manifest,
                found.shard,
                KEYSET,
                window,
                Position(),
            )
        )
    assert bytes(window) == bytes(SEGMENT_BYTES)


@pytest.mark.parametrize("cut", [1, 16, 1000, SEGMENT_BYTES])
def test_a_shortened_object_is_refused(cut):
    with pytest.raises(PlanMismatch) as caught:
        read(BIG, sealed=BIG.sealed[:-cut])
    assert caught.value.actual == "fewer bytes"


@pytest.mark.parametrize("sizes", [[1 << 20], [BIG.shard.size_bytes], [1000, 3 << 20]])
@pytest.mark.parametrize("more", [b"x", bytes(SEGMENT_BYTES)])
def test_an_extended_object_is_refused(more, sizes):
    with pytest.raises(PlanMismatch) as caught:
        read(BIG, sealed=BIG.sealed + more, sizes=sizes)
    assert caught.value.actual == "more bytes"


def test_an_empty_object_is_refused():
    with pytest.raises(PlanMismatch):
        read(BIG, sealed=b"")


def test_another_objects_header_is_refused():
    other = seal_lines([noise(700_000, seed) for seed in range(4)])
    assert len(other.sealed) == len(BIG.sealed)
    with pytest.raises(PlanMismatch) as caught:
        read(BIG, sealed=other.sealed)
    assert caught.value.expected == "the header in the manifest"


def test_a_swapped_header_does_not_open_even_when_pinned():
    other = seal_lines([noise(700_000, seed) for seed in range(4)])
    mixed = other.sealed[:HEADER_BYTES] + BIG.sealed[HEADER_BYTES:]
    manifest = BIG.pinned(header=other.shard.header)
    with pytest.raises(SegmentRefused):
        read(BIG, sealed=mixed, manifest=manifest)


def test_swapped_segments_are_refused():
    one, two = BIG.sealed[:SEGMENT_BYTES], BIG.sealed[SEGMENT_BYTES : 2 * SEGMENT_BYTES]
    mixed = one[:HEADER_BYTES] + two[HEADER_BYTES:] + one + BIG.sealed[2 * SEGMENT_BYTES :]
    with pytest.raises(SegmentRefused):
        read(BIG, sealed=mixed[: len(BIG.sealed)].ljust(len(BIG.sealed), b"\0"))


@pytest.mark.parametrize("change", [{"name": "other"}, {"keyset": None}, {"index": 1}])
def test_a_shard_opens_as_itself_only(change):
    found = seal_lines([b"one"])
    manifest = found.manifest
    if "name" in change:
        manifest = msgspec.structs.replace(manifest, name="other")
    elif "index" in change:
        manifest = found.pinned(index=1)
    keyset = Keyset.generate() if "keyset" in change else KEYSET
    assert read(found) == [b"one"]
    with pytest.raises(SegmentRefused):
        read(found, manifest=manifest, keyset=keyset)


class Text:
    """Plain text in blocks, as a source."""

    def __init__(self, *blocks: bytes) -> None:
        self._blocks = [*blocks, b""]

    def read(self, _size: int = -1, /) -> bytes:
        return self._blocks.pop(0)


@pytest.mark.parametrize(
    ("blocks", "expected"),
    [
        ((), []),
        ((b"\n",), [b""]),
        ((b"a",), [b"a"]),
        ((b"a\n",), [b"a"]),
        ((b"a", b"b", b"\nc"), [b"ab", b"c"]),
        ((b"a\n", b"\n", b"b"), [b"a", b"", b"b"]),
        ((b"a\r\nb",), [b"a\r", b"b"]),
    ],
)
def test_lines_of_plain_text(blocks, expected):
    assert list(records(Text(*blocks), Position(), compressed=False)) == expected
