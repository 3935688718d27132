"""Addresses of objects: ``s3://bucket/key``, ``gs://bucket/key``, ``local:///absolute/path``.

The one grammar of them: ``parse`` reads an address of any object, and ``parse_prefix`` a prefix as
run files, owner files and commands name it, so that what can be sealed can be named by a run and
leased by it.

An address has one spelling. What a store, a session policy or a file system could read in a
second way is refused, not repaired: ``.`` and ``..``, empty segments, control and formatting
characters, IAM and shell wildcards, escapes, queries and fragments. A prefix ends in ``/``.
Based on the CVE class in which a prefix with ``*`` widens the policy made from it (Apache
Polaris, Unity Catalog). Does no I/O, and knows of a store only the name of its module.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass

from strongroom.connectors.buckets.errors import UriInvalid
from strongroom.errors.visible import shortened

MAX_KEY_BYTES = 1024
"""The limit of S3 and of Google Cloud Storage, in UTF-8."""
MAX_PREFIX_BYTES = 896
"""Of a named prefix, so that the names of a run's objects fit below it."""


@dataclass(frozen=True)
class Store:
    """A kind of store: what its buckets may be called, and who opens them."""

    bucket: re.Pattern[str]
    shown: str
    """The form of a bucket's name, for people."""
    module: str
    """Whose ``open_location(location, credentials, endpoint, region)`` opens a bucket."""


STORES: dict[str, Store] = {
    "s3": Store(
        re.compile(r"[a-z0-9](?:[a-z0-9.-]{1,61})[a-z0-9]"),
        "a bucket name of 3 to 63 lower-case letters, digits, '-' and '.'",
        "strongroom.connectors.buckets.s3",
    ),
    "gs": Store(
        re.compile(r"[a-z0-9](?:[a-z0-9._-]{1,220})[a-z0-9]"),
        "a bucket name of 3 to 222 lower-case letters, digits, '-', '_' and '.'",
        "strongroom.connectors.buckets.gcs",
    ),
    "local": Store(
        re.compile(r""), "local:///absolute/path", "strongroom.connectors.buckets.local"
    ),
}
"""By scheme."""
# The policy rule ``scopes_are_folders`` admits leases for no others.
_PLAIN_SEGMENT = re.compile(r"[A-Za-z0-9][A-Za-z0-9._=+@-]*")
_IP_ADDRESS = re.compile(r"\d{1,3}(?:\.\d{1,3}){3}")
_FORBIDDEN = frozenset("*?[]{}$%#\\\"'<>|^~`")


@dataclass(frozen=True)
class Location:
    """One object or, where ``key`` is empty or ends in ``/``, one prefix.

    For ``local`` the bucket is empty and the key is the absolute path without its first slash,
    so that the same key rules hold for all stores. Raises ``UriInvalid``.
    """

    scheme: str
    bucket: str
    key: str

    def __post_init__(self) -> None:
        place = f"{self.scheme}://"
        store = STORES[self.scheme]
        if not store.bucket.fullmatch(self.bucket) or ".." in self.bucket:
            # What is written before the first slash may hold a password.
            plain = re.fullmatch(r"[\w.*-]{0,80}", self.bucket)
            actual = repr(self.bucket) if plain else "characters that no bucket name has"
            raise UriInvalid(place=place, expected=store.shown, actual=actual)
        if _IP_ADDRESS.fullmatch(self.bucket):
            raise UriInvalid(place=place, expected=store.shown, actual="an IP address")
        check_key(self.key, place=f"{place}{self.bucket}/", prefix=True)

    def __str__(self) -> str:
        return f"{self.scheme}://{self.bucket}/{self.key}"

    @property
    def is_prefix(self) -> bool:
        """Whether this names a prefix (or the whole bucket) and not one object."""
        return not self.key or self.key.endswith("/")

    def child(self, name: str) -> Location:
        """The address of ``name`` (which may have slashes) below this prefix.

        Raises ``UriInvalid`` when this is not a prefix, or when ``name`` would leave it.
        """
        if not self.is_prefix:
            raise UriInvalid(place=str(self), expected="a prefix that ends in '/'", actual="a key")
        check_key(name, place=str(self), prefix=True)
        if not name:
            raise UriInvalid(place=str(self), expected="the name of a child", actual="nothing")
        return Location(self.scheme, self.bucket, self.key + name)


def parse(uri: str) -> Location:
    """The address that ``uri`` spells. Raises ``UriInvalid``."""
    scheme, mark, rest = uri.partition("://")
    if not mark or scheme not in STORES:
        known = ", ".join(f"{name}://" for name in STORES)
        raise UriInvalid(expected=f"one of {known}", actual="another beginning")
    bucket, slash, key = rest.partition("/")
    if scheme == "local" and not (slash and key):
        raise UriInvalid(expected="local:///absolute/path", actual="no path")
    return Location(scheme, bucket, key)


def parse_prefix(uri: str) -> Location:
    """The prefix that ``uri`` names: a bucket's root or a folder in it, with its last ``/``.

    Narrower than ``parse``: segments are plain words, and objects still fit below. Raises
    ``UriInvalid``.
    """
    location = parse(uri)
    if not uri.endswith("/"):
        raise UriInvalid(place=uri, expected="a prefix that ends with '/'", actual="a key")
    segments = location.key.split("/")[:-1]
    if not all(_PLAIN_SEGMENT.fullmatch(segment) for segment in segments):
        expected = "segments of letters, digits and . _ = + @ -, starting with a letter or digit"
        raise UriInvalid(place=uri, expected=expected, actual="another segment")
    if len(location.key) > MAX_PREFIX_BYTES:
        raise UriInvalid(
            place=f"{location.scheme}://{location.bucket}/",
            expected=f"a prefix of at most {MAX_PREFIX_BYTES} bytes",
            actual=f"{len(location.key)} bytes",
        )
    return location


def check_key(key: str, *, place: str, prefix: bool = False) -> None:
    """Raise ``UriInvalid`` unless ``key`` has the one strict form.

    With ``prefix`` an empty key and a trailing ``/`` are allowed as well.
    """

    def invalid(expected: str, actual: str) -> UriInvalid:
        return UriInvalid(place=place, expected=expected, actual=actual)

    if prefix and not key:
        return
    if not key:
        raise invalid("a key", "an empty one")
    for character in key:
        if character in _FORBIDDEN:
            raise invalid("a key without wildcards, quotes, escapes and queries", repr(character))
        if character != " " and unicodedata.category(character)[0] in "CZ":
            raise invalid("a key of printable characters", f"U+{ord(character):04X}")
    if len(key.encode()) > MAX_KEY_BYTES:
        raise invalid(f"at most {MAX_KEY_BYTES} bytes", f"{len(key.encode())} bytes")
    if unicodedata.normalize("NFC", key) != key:
        raise invalid("a key in Unicode form NFC", "another form")
    segments = key.split("/")
    if prefix and segments[-1] == "":
        segments.pop()
    for segment in segments:
        if segment in {"", ".", ".."}:
            raise invalid("segments with names of their own", f"the segment {segment!r}")
        if segment != segment.strip():
            raise invalid("segments without outer blanks", _shown(segment))


def _shown(text: str) -> str:
    """Text from outside, fit for one line of an error."""
    return ascii(shortened(text, 80))
