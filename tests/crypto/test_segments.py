"""Lengths and places: one to one, gapless, and the format's own numbers."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from strongroom.crypto.errors import LengthImpossible, PlaintextTooLong
from strongroom.crypto.segments import (
    HEADER_BYTES,
    MAX_SEGMENTS,
    SEGMENT_BYTES,
    TAG_BYTES,
    Layout,
    ciphertext_bytes,
    plaintext_bytes,
)

layouts = st.integers(HEADER_BYTES + TAG_BYTES + 1, 300).map(Layout)


def test_the_numbers_of_aes256_gcm_hkdf_1mb():
    assert (SEGMENT_BYTES, HEADER_BYTES, TAG_BYTES) == (1_048_576, 40, 16)
    assert ciphertext_bytes(0) == 56
    assert ciphertext_bytes(SEGMENT_BYTES - 56) == SEGMENT_BYTES
    assert ciphertext_bytes(SEGMENT_BYTES - 55) == SEGMENT_BYTES + 17


@given(st.integers(0, 1 << 50))
def test_length_there_and_back(size):
    assert plaintext_bytes(ciphertext_bytes(size)) == size


@given(layouts, st.integers(0, 2000))
def test_a_possible_sealed_length_belongs_to_one_plaintext_length(layout, sealed):
    try:
        size = layout.plaintext_bytes(sealed)
    except LengthImpossible:
        reachable = {layout.ciphertext_bytes(n) for n in range(sealed + 1)}
        assert sealed not in reachable
    else:
        assert layout.ciphertext_bytes(size) == sealed


@given(layouts, st.integers(0, 2000))
def test_segments_cover_object_and_plaintext_without_gap(layout, size):
    sealed = layout.ciphertext_bytes(size)
    at, plain_at = HEADER_BYTES, 0
    for i in range(layout.segments(sealed)):
        start, stop = layout.segment_range(i, sealed)
        first, end = layout.plaintext_range(i, sealed)
        assert (start, first) == (at, plain_at)
        assert stop - start - TAG_BYTES == end - first
        at, plain_at = stop, end
    assert (at, plain_at) == (sealed, size)


@pytest.mark.parametrize("i", [-1, 2, 1 << 40])
def test_no_such_segment(i):
    with pytest.raises(IndexError):
        Layout().segment_range(i, ciphertext_bytes(SEGMENT_BYTES))


@pytest.mark.parametrize("sealed", [0, 1, 39, 40, 55, SEGMENT_BYTES + 1, SEGMENT_BYTES + 16])
def test_impossible_lengths(sealed):
    with pytest.raises(LengthImpossible) as caught:
        plaintext_bytes(sealed)
    assert f"{sealed} bytes" in str(caught.value)


def test_the_counter_never_wraps():
    longest = (SEGMENT_BYTES - TAG_BYTES) * MAX_SEGMENTS - HEADER_BYTES
    assert ciphertext_bytes(longest) == MAX_SEGMENTS * SEGMENT_BYTES
    with pytest.raises(PlaintextTooLong):
        ciphertext_bytes(longest + 1)
    with pytest.raises(LengthImpossible):
        plaintext_bytes(MAX_SEGMENTS * SEGMENT_BYTES + 17)


def test_a_segment_needs_room():
    with pytest.raises(ValueError, match="longer than"):
        Layout(HEADER_BYTES + TAG_BYTES)
    with pytest.raises(ValueError, match="negative"):
        ciphertext_bytes(-1)
