"""SHA-256 digests as text, and the one canonical byte form that digests and signatures are over.

Invariant: equal values give equal bytes, and unequal values give unequal bytes. What has no such
form (NaN, integers beyond 2^53, keys that are not text) is refused.
"""

from __future__ import annotations

import hashlib
import re
from typing import NewType, TypeAlias

import msgspec
import rfc8785

from strongroom.crypto.errors import DigestMalformed, NotCanonical

Buffer: TypeAlias = bytes | bytearray | memoryview
"""What this package reads bytes from. Memoryviews must be contiguous."""

Sha256 = NewType("Sha256", str)
"""A SHA-256 digest as ``sha256:<64 lower-case hex digits>``."""

SHA256_PATTERN = r"^sha256:[0-9a-f]{64}\Z"
_SHA256 = re.compile(SHA256_PATTERN)


def sha256(data: Buffer) -> Sha256:
    """The SHA-256 of ``data``."""
    return Sha256("sha256:" + hashlib.sha256(data).hexdigest())


def parse_sha256(text: str, *, place: str = "") -> Sha256:
    """``text`` as a digest. Raises ``DigestMalformed``."""
    if not _SHA256.match(text):
        raise DigestMalformed(place=place, expected="sha256:<64 hex>", actual=f"{len(text)} chars")
    return Sha256(text)


def canonical(value: object) -> bytes:
    """``value`` as RFC 8785 JSON (UTF-8). Takes plain data and msgspec Structs, nested at will.

    Raises ``NotCanonical``.
    """
    try:
        return bytes(rfc8785.dumps(msgspec.to_builtins(value, order="deterministic")))
    except (rfc8785.CanonicalizationError, TypeError, ValueError) as error:
        # Exception text may hold the value; its class says enough.
        raise NotCanonical(actual=f"{type(value).__name__} ({type(error).__name__})") from None


def digest_of(value: object) -> Sha256:
    """The SHA-256 of ``value`` in canonical form."""
    return sha256(canonical(value))
