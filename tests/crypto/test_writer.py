"""Sealing a stream: same format as sealing at once, constant memory, and no shorter twin."""

import hashlib
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

import strongroom.crypto.writer
from strongroom.crypto.errors import LengthImpossible, PlaintextTooLong, SegmentRefused
from strongroom.crypto.segments import HEADER_BYTES, SEGMENT_BYTES, ciphertext_bytes
from strongroom.crypto.streaming import StreamingKey

KEY = bytes(range(32))
SMALL = StreamingKey(KEY, segment_bytes=100)


class Sink:
    def __init__(self):
        self.data = bytearray()

    def __call__(self, view):
        self.data += view


@given(st.lists(st.binary(max_size=250), max_size=8))
def test_pieces_of_any_size_give_one_object(pieces):
    sink = Sink()
    with SMALL.writer(b"ad", sink) as writer:
        for piece in pieces:
            writer.write(piece)
    plaintext = b"".join(pieces)
    assert SMALL.open(sink.data, b"ad") == plaintext
    assert writer.plaintext_bytes == len(plaintext)
    assert writer.size_bytes == len(sink.data)
    assert writer.header == sink.data[:HEADER_BYTES]
    assert writer.sha256 == "sha256:" + hashlib.sha256(sink.data).hexdigest()


@pytest.mark.parametrize("extra", [-1, 0, 1])
@pytest.mark.parametrize("segments", [1, 2, 3])
@pytest.mark.parametrize("step", [1, 7, 84, 1000])
def test_edges_of_segments(segments, extra, step):
    plaintext = bytes(i % 251 for i in range(100 * segments - 40 - 16 * segments + extra))
    sink = Sink()
    with SMALL.writer(b"ad", sink) as writer:
        for at in range(0, len(plaintext), step):
            writer.write(plaintext[at : at + step])
    assert SMALL.open(sink.data, b"ad") == plaintext


def test_nothing_written_is_the_empty_plaintext():
    sink = Sink()
    StreamingKey(KEY).writer(b"ad", sink).close()
    assert len(sink.data) == 56
    assert StreamingKey(KEY).open(sink.data, b"ad") == b""


def test_memory_stays_constant():
    key, taken = StreamingKey(KEY), [0]

    def sink(view):
        taken[0] += len(view)

    piece = bytes(3_000_001)
    tracemalloc.start()
    try:
        with key.writer(b"ad", sink) as writer:
            for _ in range(20):
                writer.write(piece)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert taken[0] == ciphertext_bytes(20 * len(piece)) == writer.size_bytes
    assert peak < 4 * SEGMENT_BYTES


def test_an_unfinished_object_does_not_open():
    sink = Sink()
    writer = SMALL.writer(b"ad", sink)
    writer.write(b"x" * 500)
    assert len(sink.data) % 100 == 0
    with pytest.raises(SegmentRefused):
        SMALL.open(sink.data, b"ad")


def test_a_failing_block_leaves_no_last_segment_and_no_plaintext():
    sink = Sink()
    writer = SMALL.writer(b"ad", sink)

    def block():
        with writer:
            writer.write(b"secret" * 50)
            raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"):
        block()
    assert not any(writer._pending)
    with pytest.raises((SegmentRefused, LengthImpossible)):
        SMALL.open(sink.data, b"ad")
    with pytest.raises(ValueError, match="closed"):
        writer.write(b"more")


def test_closing_wipes_the_plaintext_and_closes_once():
    sink = Sink()
    writer = SMALL.writer(b"ad", sink)
    writer.write(b"secret")
    assert b"secret" in bytes(writer._pending)
    writer.close()
    size = len(sink.data)
    writer.close()
    assert len(sink.data) == size
    assert not any(writer._pending)


def test_a_failing_sink_spends_the_writer():
    """A second attempt under the same nonce must be impossible."""

    def sink(view):
        raise OSError("disk full")

    writer = SMALL.writer(b"ad", sink)
    with pytest.raises(OSError, match="disk full"):
        writer.write(b"x" * 500)
    with pytest.raises(ValueError, match="closed"):
        writer.write(b"x")
    writer.close()
    assert writer.size_bytes == 100


def test_the_sink_cannot_write_into_the_buffer():
    def sink(view):
        view[0] = 0

    writer = SMALL.writer(b"ad", sink)
    with pytest.raises(TypeError, match="read-only"):
        writer.close()


def test_the_counter_never_wraps(monkeypatch):
    monkeypatch.setattr(strongroom.crypto.writer, "MAX_SEGMENTS", 3)
    writer = SMALL.writer(b"ad", Sink())
    with pytest.raises(PlaintextTooLong):
        writer.write(b"x" * 500)
