"""Framing over real socket pairs: any object arrives whole, and nothing else is taken."""

from __future__ import annotations

import socket
import struct
import threading
from collections.abc import Callable, Iterator

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from strongroom.enclave.attest import COMMANDS
from strongroom.enclave.channel import frames
from strongroom.enclave.channel.errors import (
    ChannelBroken,
    ChannelViolation,
    EnclaveTimedOut,
    FrameTooLarge,
)
from strongroom.enclave.channel.frames import RECORDS
from strongroom.enclave.channel.framing import MAX_FRAME_BYTES, Channel, Kind


@pytest.fixture
def ends() -> Iterator[tuple[Channel, Channel]]:
    ours, theirs = Channel.pair()
    yield Channel(ours, "one side"), Channel(theirs, "the other side")
    ours.close()
    theirs.close()


def meanwhile(action: Callable[[], object]) -> threading.Thread:
    """Send from a thread: a socket holds less than an object."""
    thread = threading.Thread(target=action, daemon=True)
    thread.start()
    return thread


@pytest.mark.parametrize("size", [0, 1, 100, 1 << 20, MAX_FRAME_BYTES])
def test_a_frame_arrives(ends, size):
    one, other = ends
    payload = bytes(range(256)) * (size // 256) + bytes(size % 256)
    sender = meanwhile(lambda: one.send(Kind.DATA, payload))
    assert other.recv() == (Kind.DATA, payload)
    sender.join()


@settings(deadline=None, max_examples=30)
@given(st.lists(st.integers(0, 3 << 20), max_size=6))
def test_an_object_arrives_whole(sizes):
    ours, theirs = Channel.pair()
    chunks = [bytes([index + 1]) * size for index, size in enumerate(sizes)]
    sender = meanwhile(lambda: Channel(ours, "sender").send_object(chunks))
    received = b"".join(bytes(piece) for piece in Channel(theirs, "r").recv_object(bytearray()))
    sender.join()
    ours.close()
    theirs.close()
    assert received == b"".join(chunks)


@pytest.mark.parametrize("size", [MAX_FRAME_BYTES - 1, MAX_FRAME_BYTES + 1, 11 << 20])
def test_a_large_chunk_becomes_several_frames(ends, size):
    one, other = ends
    sender = meanwhile(lambda: one.send_object([memoryview(bytes(size))]))
    pieces = [len(piece) for piece in other.recv_object(bytearray())]
    sender.join()
    assert sum(pieces) == size
    assert max(pieces) <= MAX_FRAME_BYTES
    assert len(pieces) == -(-size // MAX_FRAME_BYTES)


def test_pieces_may_grow_while_one_is_still_held(ends):
    """A reader keeps the rest of one piece while it asks for the next, larger one."""
    one, other = ends
    one.send(Kind.DATA, b"small")
    one.send(Kind.DATA, b"larger than before")
    one.send(Kind.END)
    pieces = other.recv_object(bytearray())
    first = next(pieces)
    rest = first[3:]
    second = next(pieces)
    assert bytes(second) == b"larger than before"
    assert list(pieces) == []
    assert len(rest) == 2


def test_one_buffer_serves_objects_of_different_sizes(ends):
    one, other = ends
    buffer = bytearray()
    for size in (10, 100_000, 0, 5):
        sender = meanwhile(lambda size=size: one.send_object([b"x" * size]))
        assert sum(len(piece) for piece in other.recv_object(buffer)) == size
        sender.join()


def test_a_frame_too_large_is_not_sent(ends):
    with pytest.raises(FrameTooLarge):
        ends[0].send(Kind.DATA, bytes(MAX_FRAME_BYTES + 1))


@pytest.mark.parametrize(
    ("kind", "size"),
    [(2, MAX_FRAME_BYTES + 1), (2, 0xFFFFFFFF), (0, 0), (4, 0), (255, 10)],
)
def test_a_frame_is_refused_by_its_head(ends, kind, size):
    """Before a byte of it is read or memory is taken for it."""
    one, other = ends
    one._sock.sendall(struct.pack("<BI", kind, size))
    buffer = bytearray()
    with pytest.raises(ChannelViolation):
        other.recv_into(buffer)
    assert len(buffer) == 0


@pytest.mark.parametrize(
    "sent", [b"", b"\x02", b"\x02\x0a\x00\x00\x00", b"\x02\x0a\x00\x00\x00half"]
)
def test_the_other_side_goes_away(ends, sent):
    one, other = ends
    one._sock.sendall(sent)
    one.close()
    with pytest.raises(ChannelBroken) as caught:
        other.recv()
    assert caught.value.place == "the other side"


def test_the_other_side_goes_away_within_an_object(ends):
    one, other = ends
    one.send(Kind.DATA, b"first")
    one.close()
    pieces = other.recv_object(bytearray())
    assert bytes(next(pieces)) == b"first"
    with pytest.raises(ChannelBroken):
        next(pieces)


def test_sending_to_nobody(ends):
    one, other = ends
    other.close()
    with pytest.raises(ChannelBroken):
        one.send_object([bytes(1 << 20)] * 4)


def test_a_silent_peer_is_told_apart_from_one_that_has_ended(ends):
    one, _other = ends
    one._sock.settimeout(0.05)
    with pytest.raises(EnclaveTimedOut):
        one.recv()


def test_records_go_both_ways(ends):
    one, other = ends
    one.send_record(frames.Verify(dataset="train", shard=2))
    assert other.recv_record(COMMANDS) == frames.Verify(dataset="train", shard=2)
    other.send_record(frames.Done())
    assert one.recv_record(RECORDS) == frames.Done()


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"{}",
        b"null",
        b"row 17 says hello",
        b'{"frame":"verify"}',
        b'{"frame":"unknown"}',
        b'{"frame":"done","note":"hello"}',
        b'{"frame":"\xff\xfe"}',
        b'{"frame":"failure","code":"\xff\xfe"}',
        b"[" * 100_000,
        b'{"frame":"failure","code":' + b"[" * 100_000,
    ],
    ids=lambda payload: payload[:20],
)
def test_a_malformed_record_is_a_violation(ends, payload):
    one, other = ends
    sender = meanwhile(lambda: one.send(Kind.RECORD, payload))
    with pytest.raises(ChannelViolation) as caught:
        other.recv_record(RECORDS)
    sender.join()
    assert "hello" not in str(caught.value)


def test_a_field_of_any_kind_may_not_nest_without_end(ends):
    from strongroom.pipeline.broker.client import ANSWERS

    one, other = ends
    deep = b'{"message":"reply","value":' + b"[" * 50_000 + b"]" * 50_000 + b"}"
    sender = meanwhile(lambda: one.send(Kind.RECORD, deep))
    with pytest.raises(ChannelViolation):
        other.recv_record(ANSWERS)
    sender.join()


@pytest.mark.parametrize("kind", [Kind.DATA, Kind.END])
def test_a_record_was_expected(ends, kind):
    one, other = ends
    one.send(kind, b"" if kind is Kind.END else msgspec.json.encode(frames.Done()))
    with pytest.raises(ChannelViolation):
        other.recv_record(RECORDS)


def test_object_bytes_were_expected(ends):
    one, other = ends
    one.send_record(frames.Done())
    with pytest.raises(ChannelViolation):
        next(other.recv_object(bytearray()))


def test_a_pair_is_not_inherited_by_chance():
    pair = Channel.pair()
    assert not any(sock.get_inheritable() for sock in pair)
    assert all(sock.family == socket.AF_UNIX for sock in pair)
    for sock in pair:
        sock.close()
