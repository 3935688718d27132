"""Sealing and opening: round trips, reuse of buffers, and what is left behind after a refusal."""

import hashlib
import hmac
from concurrent.futures import ThreadPoolExecutor

import pytest
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from hypothesis import given
from hypothesis import strategies as st

from strongroom.crypto.errors import (
    HeaderMalformed,
    LengthImpossible,
    SegmentLengthWrong,
    SegmentRefused,
)
from strongroom.crypto.segments import HEADER_BYTES, SEGMENT_BYTES, TAG_BYTES
from strongroom.crypto.streaming import StreamingKey
from strongroom.crypto.writer import segment_nonce
from strongroom.errors import Exit

KEY = bytes(range(32))
SMALL = StreamingKey(KEY, segment_bytes=100)
AD = b"strongroom/shard/v1\0feedback\x0042\x000\x007"


@given(st.binary(max_size=700), st.binary(max_size=40))
def test_round_trip(plaintext, ad):
    assert SMALL.open(SMALL.seal(plaintext, ad), ad) == plaintext


@given(st.binary(max_size=700), st.binary(max_size=40))
def test_deterministic_round_trip(plaintext, ad):
    sealed = SMALL.seal_deterministic(plaintext, ad)
    assert SMALL.open(sealed, ad) == plaintext
    assert SMALL.seal_deterministic(bytearray(plaintext), ad) == sealed


@given(
    st.binary(max_size=300), st.binary(max_size=300), st.binary(max_size=9), st.binary(max_size=9)
)
def test_deterministic_headers_are_equal_only_for_equal_plaintext_and_identity(one, two, ad, other):
    header = SMALL.seal_deterministic(one, ad)[:HEADER_BYTES]
    other_header = SMALL.seal_deterministic(two, other)[:HEADER_BYTES]
    assert (header == other_header) == ((one, ad) == (two, other))
    assert (header[1:33] == other_header[1:33]) == ((one, ad) == (two, other))


def test_deterministic_headers_differ_by_key_and_by_segment_size():
    def header(key, segment_bytes):
        sealed = StreamingKey(key, segment_bytes=segment_bytes).seal_deterministic(b"same", AD)
        return bytes(sealed[:HEADER_BYTES])

    assert len({header(KEY, 100), header(KEY, 101), header(KEY[::-1], 100)}) == 3


def test_the_deterministic_form_is_fixed_for_all_releases():
    """Computed by hand from the ADR: a resumed run must meet the bytes of an earlier release."""
    salt = b"strongroom/subkey/v1: longer than any object's salt"
    pseudo_random_key = hmac.digest(salt, KEY, "sha256")
    mac_key = hmac.digest(pseudo_random_key, b"deterministic-seal\x01", "sha256")
    plaintext = b"weights"
    message = (1 << 20).to_bytes(8, "big") + len(AD).to_bytes(8, "big") + AD
    tag = hmac.digest(mac_key, message + hashlib.sha256(plaintext).digest(), "sha512")
    object_prk = hmac.digest(tag[:32], KEY, "sha256")
    object_key = hmac.digest(object_prk, AD + b"\x01", "sha256")
    segment = AESGCM(object_key).encrypt(tag[32:39] + b"\0\0\0\0\x01", plaintext, None)
    expected = b"\x28" + tag[:39] + segment
    assert StreamingKey(KEY).seal_deterministic(plaintext, AD) == expected


def test_random_sealing_never_repeats():
    assert len({bytes(SMALL.seal(b"same", AD)) for _ in range(50)}) == 50


@pytest.mark.parametrize(
    ("key", "ad"), [(KEY[::-1], AD), (KEY, AD + b"\0"), (KEY, b""), (KEY, AD.replace(b"7", b"8"))]
)
def test_another_key_or_identity_does_not_open(key, ad):
    sealed = SMALL.seal(b"row" * 100, AD)
    with pytest.raises(SegmentRefused) as caught:
        StreamingKey(key, segment_bytes=100).open(sealed, ad, place="shard-00003.sealed")
    assert caught.value.place == "shard-00003.sealed segment 0"
    assert caught.value.exit_code == Exit.INTEGRITY
    assert caught.value.__cause__ is None


def test_segments_open_in_any_order_into_one_reused_buffer():
    plaintext = bytes(i % 251 for i in range(1000))
    sealed = SMALL.seal(plaintext, AD)
    opener = SMALL.opener(bytes(sealed[:HEADER_BYTES]), len(sealed), AD)
    assert opener.plaintext_bytes == len(plaintext)
    out = bytearray(100)
    for i in reversed(range(opener.segments)):
        start, stop = opener.segment_range(i)
        first, end = opener.plaintext_range(i)
        size = opener.open_into(i, memoryview(sealed)[start:stop], out)
        assert size == end - first
        assert out[:size] == plaintext[first:end]


def test_one_opener_serves_several_threads():
    plaintext = bytes(i % 251 for i in range(5 * SEGMENT_BYTES))
    key = StreamingKey(KEY)
    sealed = memoryview(key.seal(plaintext, AD))
    opener = key.opener(bytes(sealed[:HEADER_BYTES]), len(sealed), AD)

    def open_one(i):
        start, stop = opener.segment_range(i)
        first, end = opener.plaintext_range(i)
        out = bytearray(SEGMENT_BYTES)
        return out[: opener.open_into(i, sealed[start:stop], out)] == plaintext[first:end]

    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(open_one, [i % opener.segments for i in range(120)]))


def test_a_refused_segment_leaves_nothing_in_the_buffer():
    sealed = SMALL.seal(b"customer row " * 3, AD)
    sealed[-1] ^= 1
    header, segment = bytes(sealed[:HEADER_BYTES]), sealed[HEADER_BYTES:]
    opener = SMALL.opener(header, len(sealed), AD, place="shard-00000.sealed")
    out = bytearray(b"\xff" * 100)
    with pytest.raises(SegmentRefused):
        opener.open_into(0, segment, out)
    assert out == bytes(100)


def test_control_aes_gcm_itself_leaves_unauthentic_plaintext_in_the_buffer():
    nonce, text = bytes(12), b"customer row"
    sealed = bytearray(AESGCM(KEY).encrypt(nonce, text, None))
    sealed[-1] ^= 1
    out = bytearray(len(text))
    with pytest.raises(InvalidTag):
        AESGCM(KEY).decrypt_into(nonce, sealed, None, out)
    assert out == text


@pytest.mark.parametrize("change", [-1, 1, 100])
def test_a_segment_of_the_wrong_length_is_named(change):
    sealed = SMALL.seal(b"x" * 300, AD)
    opener = SMALL.opener(bytes(sealed[:HEADER_BYTES]), len(sealed), AD, place="shard-00003.sealed")
    start, stop = opener.segment_range(1)
    segment = (bytes(sealed[start:stop]) * 3)[: stop - start + change]
    out = bytearray(b"\xff" * 300)
    with pytest.raises(SegmentLengthWrong) as caught:
        opener.open_into(1, segment, out)
    assert caught.value.place == "shard-00003.sealed segment 1"
    assert caught.value.expected == "100 bytes"
    assert out == bytes(300)


def test_last_is_decided_by_the_pinned_length_and_not_by_trial():
    """A whole object, cut at a segment border: each of its segments is authentic."""
    sealed = SMALL.seal(b"x" * 300, AD)
    cut = sealed[:200]
    opener = SMALL.opener(bytes(cut[:HEADER_BYTES]), len(cut), AD)
    opener.open_into(0, cut[HEADER_BYTES:100], bytearray(100))
    with pytest.raises(SegmentRefused):
        opener.open_into(1, cut[100:200], bytearray(100))
    pinned = SMALL.opener(bytes(sealed[:HEADER_BYTES]), len(sealed), AD)
    assert pinned.open_into(1, cut[100:200], bytearray(100)) == 84


def test_control_trying_both_marks_would_accept_the_cut_object():
    sealed = SMALL.seal(b"x" * 300, AD)
    aead = SMALL._object_key(bytes(sealed[:HEADER_BYTES]), AD)
    prefix, segment = bytes(sealed[33:40]), bytes(sealed[100:200])
    with pytest.raises(InvalidTag):
        aead.decrypt(segment_nonce(prefix, 1, last=True), segment, None)
    assert aead.decrypt(segment_nonce(prefix, 1, last=False), segment, None) == b"x" * 84


@pytest.mark.parametrize("header", [b"", b"\x28", bytes(40), b"\x18" + bytes(39), b"\x28" * 41])
def test_not_a_header(header):
    with pytest.raises(HeaderMalformed) as caught:
        SMALL.opener(header, 400, AD, place="shard-00000.sealed")
    assert caught.value.place == "shard-00000.sealed"


@pytest.mark.parametrize("size", [0, 40, 55, 101, 116])
def test_impossible_lengths_name_the_object(size):
    with pytest.raises(LengthImpossible) as caught:
        SMALL.opener(b"\x28" * 40, size, AD, place="shard-00000.sealed")
    assert caught.value.place == "shard-00000.sealed"


def test_misuse_is_a_programming_error():
    with pytest.raises(ValueError, match="32 bytes"):
        StreamingKey(b"short")
    sealed = SMALL.seal(b"x" * 300, AD)
    opener = SMALL.opener(bytes(sealed[:HEADER_BYTES]), len(sealed), AD)
    start, stop = opener.segment_range(0)
    with pytest.raises(ValueError, match="needs 44 bytes"):
        opener.open_into(0, sealed[start:stop], bytearray(stop - start - TAG_BYTES - 1))
    with pytest.raises(IndexError):
        opener.open_into(opener.segments, b"", bytearray(100))
