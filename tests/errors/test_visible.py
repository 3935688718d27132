"""What a person sees of text from outside: nothing that drives a terminal, and no credential."""

from __future__ import annotations

import sys
import time
import unicodedata

import pytest

from strongroom.errors import StrongroomError
from strongroom.errors.registry import from_documents
from strongroom.errors.visible import SPELLED, shortened, visible, without_credentials

SECRETS = ("hunter2", "s3cr", "AbC%2F=")


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b]0;owned\x07", r"\x1b]0;owned\x07"),
        ("\x9b2J", r"\x9b2J"),
        ("a\rb\nc\td\x7f", r"a\rb\nc\td\x7f"),
        ("\u202ecod.exe\u202c", r"\u202ecod.exe\u202c"),
        ("\u2066x\u2069\u200b\u200d\ufeff\u00ad", r"\u2066x\u2069\u200b\u200d\ufeff\xad"),
        ("\u2028\u2029\u0085\u00a0", r"\u2028\u2029\x85\xa0"),
        ("\udc80\ud800", r"\udc80\ud800"),
        ("\u3164\u115f\ufe0f\u2800\U000e0041", r"\u3164\u115f\ufe0f\u2800\U000e0041"),
        ("\u0301x", r"\u0301x"),
        ("a\u0301\u0323\u0301\u0301", "a\u0301\u0323\\u0301\\u0301"),
        (
            "Größe 大きい عَرَبِيّ ไทยที่ हिंदी 👍 a\\b [bold]",
            "Größe 大きい عَرَبِيّ ไทยที่ हिंदी 👍 a\\b [bold]",
        ),
    ],
)
def test_what_cannot_be_seen_is_an_escape(text: str, shown: str) -> None:
    assert visible(text) == shown


def test_no_character_of_a_dangerous_kind_is_left() -> None:
    for code in range(sys.maxunicode + 1):
        char = chr(code)
        if unicodedata.category(char)[0] == "C" or unicodedata.category(char) in ("Zl", "Zp"):
            assert visible(char).isascii(), hex(code)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("https://user:hunter2@host:9/x", "https://***@host:9/x"),
        ("https://hunter2@host/x", "https://***@host/x"),
        ("HTTPS://user:hunter2@HOST", "HTTPS://***@HOST"),
        ("'https://user:hun/ter2?s3cr@host/x' for spec", "'https://***@host/x' for spec"),
        ("'https://user:my s3cr@host'", "'https://***@host'"),
        ("https://host/x?X-Amz-Signature=AbC%2F=&a=1", "https://host/x?***"),
        ("'https://host/x#token=hunter2'", "'https://host/x#***'"),
        ("postgres://u:hunter2@db/x", "postgres://***@db/x"),
        ("https://a/x?sig=s3cr or https://u:hunter2@b", "https://a/x?*** or https://***@b"),
        ("s3://key:hunter2@bucket/x", "s3://***@bucket/x"),
        ("user:hunter2@s3.example.com", "***@s3.example.com"),
        ("//user:hunter2@host/", "//***@host/"),
    ],
)
def test_addresses_lose_their_credentials(text: str, shown: str) -> None:
    assert without_credentials(text) == shown
    assert without_credentials(shown) == shown
    assert not [secret for secret in SECRETS if secret in shown]


@pytest.mark.parametrize(
    "text",
    [
        "https://s3.eu-west-1.amazonaws.com:443/x",
        "s3://bucket/a?b#c@d:e@f",
        "arn:aws:iam::111122223333:role/a@b",
        "name@project.iam.gserviceaccount.com",
        "strongroom:1.0@sha256:abcd",
        "unix:///run/socket",
        "run.yaml:9:3: a@b",
    ],
)
def test_what_holds_none_stays(text: str) -> None:
    assert without_credentials(text) == text


def test_text_is_cut_after_its_credentials_are_gone() -> None:
    assert shortened("https://user:" + "hunter2" * 20 + "@host", 60) == "https://***@host"
    assert shortened("a" * 70, 60) == "a" * 57 + "..."


def test_an_error_never_holds_a_credential() -> None:
    class Wrong(StrongroomError):
        code = "SR-TEST-1"

    url = "https://user:hunter2@host/?sig=s3cr"
    error = Wrong(place=url, expected=url, actual=url, remedy=url)
    said = f"{error} {error!r} {error.document()} {from_documents([error.document()])}"
    assert not [secret for secret in SECRETS if secret in said]
    assert "https://***@host/?***" in said


@pytest.mark.parametrize(
    "text", ["a." * 65_000 + "@://", "=a:" * 43_000 + "@", "a://" * 32_000, "x://" + "a:" * 64_000]
)
def test_a_long_text_takes_no_long_time(text: str) -> None:
    """Processor time, of which a busy machine gives no less; quadratic would be minutes."""
    begun = time.process_time()
    without_credentials(text)
    assert time.process_time() - begun < 20


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp1252", "utf-8"])
def test_every_encoding_has_something_for_every_character(encoding: str) -> None:
    text = "rows × 2 · a → b… ✓✗█ 大 \udc80"
    assert text.encode(encoding, SPELLED)
    assert text.encode("ascii", SPELLED) == rb"rows x 2 - a -> b... +x# \u5927 \udc80"
