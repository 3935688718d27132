"""References to keys have one spelling, in one grammar."""

from __future__ import annotations

import pytest

from strongroom.connectors.keys.errors import KmsReferenceInvalid
from strongroom.connectors.keys.reference import KeyReference, parse


@pytest.mark.parametrize(
    ("text", "reference"),
    [
        ("vault://transit/feedback", KeyReference("vault", "transit", "feedback")),
        ("vault://team/transit.eu/a-1_b.c", KeyReference("vault", "team/transit.eu", "a-1_b.c")),
        ("local:///srv/my keys.json#data", KeyReference("local", "/srv/my keys.json", "data")),
    ],
)
def test_references_are_read_and_written_the_same(text, reference):
    assert parse(text) == reference
    assert str(reference) == text


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("vault://transit", "vault://<mount>/<key>"),
        ("vault://transit/../sys", "vault://<mount>/<key>"),
        ("vault://transit//a", "vault://<mount>/<key>"),
        ("vault://transit/a-", "vault://<mount>/<key>"),
        ("vault://transit/a\n", "vault://<mount>/<key>"),
        ("local://keys#a", "local:///<keyring file>#<name>"),
        ("local:///a/../keys#a", "local:///<keyring file>#<name>"),
        ("local:///a/..#a", "local:///<keyring file>#<name>"),
        ("local:///keys#a#b", "local:///<keyring file>#<name>"),
        ("awskms://x", "vault://<mount>/<key> or local:///<keyring file>#<name>"),
        ("", "vault://<mount>/<key> or local:///<keyring file>#<name>"),
    ],
)
def test_what_is_expected_is_said(text, expected):
    with pytest.raises(KmsReferenceInvalid) as caught:
        parse(text)
    assert caught.value.expected == expected
