"""No truncated, extended, reordered, spliced or flipped object opens: tried one by one.

Segments are small here so that every position of an object can be tried; the arithmetic is the same
for 1 MiB. Each case starts from an object that opens (the positive control).
"""

import os

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from strongroom.crypto.errors import IntegrityError
from strongroom.crypto.segments import HEADER_BYTES
from strongroom.crypto.streaming import StreamingKey

SEGMENT = 100
FIRST, OTHER = SEGMENT - 56, SEGMENT - 16
KEY = StreamingKey(os.urandom(32), segment_bytes=SEGMENT)
SIZES = [0, 1, FIRST - 1, FIRST, FIRST + 1, FIRST + OTHER - 1, FIRST + OTHER, FIRST + 2 * OTHER + 3]
AD = b"identity"


def refused(candidate):
    """True if opening raises an integrity error."""
    try:
        KEY.open(candidate, AD)
    except IntegrityError:
        return True
    return False


@pytest.fixture(params=SIZES, ids=lambda size: f"{size} bytes")
def sealed(request):
    plaintext = os.urandom(request.param)
    sealed = bytes(KEY.seal(plaintext, AD))
    assert KEY.open(sealed, AD) == plaintext
    return sealed


def test_every_truncation(sealed):
    assert all(refused(sealed[:size]) for size in range(len(sealed)))


def test_every_extension_up_to_six_segments(sealed):
    more = os.urandom(6 * SEGMENT)
    assert all(refused(sealed + more[:size]) for size in range(1, len(more)))
    assert all(refused(sealed + bytes(size)) for size in range(1, 2 * SEGMENT))
    assert refused(sealed + sealed)
    assert refused(sealed + sealed[HEADER_BYTES:])


def test_every_removal_from_the_front_and_middle(sealed):
    assert all(refused(sealed[size:]) for size in range(1, len(sealed)))
    assert all(refused(sealed[:at] + sealed[at + 1 :]) for at in range(len(sealed)))


def test_every_flipped_bit(sealed):
    for at in range(len(sealed)):
        for bit in range(8):
            flipped = bytearray(sealed)
            flipped[at] ^= 1 << bit
            assert refused(flipped), (at, bit)


def test_every_order_of_segments():
    plaintext = os.urandom(FIRST + 4 * OTHER)
    sealed = bytes(KEY.seal(plaintext, AD))
    pieces = [sealed[at : at + SEGMENT] for at in range(0, len(sealed), SEGMENT)]
    assert len(pieces) == 5
    for i in range(5):
        assert refused(b"".join(pieces[:i] + pieces[i + 1 :])), f"without {i}"
        for j in range(5):
            swapped = list(pieces)
            swapped[i], swapped[j] = swapped[j], swapped[i]
            assert refused(b"".join(swapped)) == (i != j)
            copied = list(pieces)
            copied[i] = pieces[j]
            assert refused(b"".join(copied)) == (i != j)
            assert refused(b"".join([*pieces[:i], pieces[j], *pieces[i:]])), f"{j} before {i}"


def test_segments_of_two_objects_do_not_mix():
    one, two = (bytes(KEY.seal(os.urandom(FIRST + 2 * OTHER), AD)) for _ in range(2))
    for at in range(0, len(one), SEGMENT):
        mixed = one[:at] + two[at : at + SEGMENT] + one[at + SEGMENT :]
        assert refused(mixed)


def test_objects_of_two_identities_do_not_swap():
    shards = [b"strongroom/shard/v1\0d\x001\x00%d\x005" % i for i in range(4)]
    objects = [KEY.seal(b"12345", identity) for identity in shards]
    for i, identity in enumerate(shards):
        for j, sealed in enumerate(objects):
            if i == j:
                assert KEY.open(sealed, identity) == b"12345"
            else:
                with pytest.raises(IntegrityError):
                    KEY.open(sealed, identity)


@pytest.mark.parametrize("lie", [-SEGMENT, -17, -1, 1, 16, 17, SEGMENT, 5 * SEGMENT])
def test_a_false_pinned_length_never_yields_a_whole_object(lie):
    """Even where single segments open, the last one does not."""
    sealed = bytes(KEY.seal(os.urandom(FIRST + 3 * OTHER - 20), AD))
    extended = sealed + bytes(abs(lie) + 6 * SEGMENT)

    def open_all(length):
        opener = KEY.opener(sealed[:HEADER_BYTES], length, AD)
        for i in range(opener.segments):
            start, stop = opener.segment_range(i)
            opener.open_into(i, extended[start:stop], bytearray(SEGMENT))

    open_all(len(sealed))
    with pytest.raises(IntegrityError):
        open_all(len(sealed) + lie)


@settings(max_examples=300)
@given(st.binary(max_size=500))
def test_arbitrary_bytes_are_refused(data):
    assert refused(data)
    assert refused(b"\x28" + data)


@given(st.binary(min_size=1, max_size=400), st.data())
def test_several_changes_at_once_are_refused(plaintext, data):
    sealed = bytearray(KEY.seal(plaintext, AD))
    original = bytes(sealed)
    for at in data.draw(st.lists(st.integers(0, len(sealed) - 1), min_size=1, max_size=5)):
        sealed[at] = data.draw(st.integers(0, 255))
    assert refused(sealed) == (bytes(sealed) != original)
