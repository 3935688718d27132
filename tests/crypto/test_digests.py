"""One byte form per value, and digests over it."""

import hashlib

import msgspec
import pytest

from strongroom.crypto.digests import canonical, digest_of, parse_sha256, sha256
from strongroom.crypto.errors import DigestMalformed, NotCanonical


class _Pair(msgspec.Struct, frozen=True):
    second: int
    first: tuple[str, ...]


def test_sha256_is_text():
    assert sha256(b"abc") == (
        "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    )
    assert sha256(bytearray(b"abc")) == sha256(memoryview(b"abc")) == sha256(b"abc")


def test_canonical_is_rfc_8785():
    value = {"numbers": [333333333.33333329, 1e30, 4.50], "literals": [None, True], "é": "\u20ac"}
    assert canonical(value) == (
        '{"literals":[null,true],"numbers":[333333333.3333333,1e+30,4.5],"é":"€"}'.encode()
    )


def test_structs_are_plain_data():
    nested = {"pairs": [_Pair(second=2, first=("a", "b"))]}
    assert canonical(nested) == b'{"pairs":[{"first":["a","b"],"second":2}]}'
    digest = hashlib.sha256(canonical(nested)).hexdigest()
    assert digest_of(nested) == f"sha256:{digest}"


def test_order_does_not_matter():
    # 0 and 8 fall into the same slot of a small set, so its order is that of insertion.
    one, two = {0, 8}, {8, 0}
    assert list(one) != list(two)
    assert canonical({"a": 1, "b": one}) == canonical({"b": two, "a": 1})


@pytest.mark.parametrize(
    "value", [float("nan"), float("inf"), 1 << 53, {1: "a"}, object(), "\ud800", [{"a": object()}]]
)
def test_what_has_no_canonical_form_is_refused(value):
    with pytest.raises(NotCanonical):
        canonical(value)


def test_the_refusal_does_not_quote_the_value():
    with pytest.raises(NotCanonical) as caught:
        canonical({"row": "customer secret", "bad": float("nan")})
    assert "secret" not in str(caught.value)
    assert caught.value.__suppress_context__


@pytest.mark.parametrize(
    "text", ["", "sha256:", "sha256:" + "0" * 63, "sha256:" + "A" * 64, "sha256:" + "0" * 64 + "\n"]
)
def test_malformed_digests(text):
    with pytest.raises(DigestMalformed):
        parse_sha256(text)


def test_sound_digests():
    assert parse_sha256(sha256(b"")) == sha256(b"")
