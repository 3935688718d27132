"""Envelopes whose signer is not known beforehand: opened with the keys that they claim.

What comes out was signed by whoever it says. Whether that is somebody to trust is decided
elsewhere: by a pinned digest, by the policy, or by comparing the payload with one that is known.
"""

from __future__ import annotations

import msgspec

from crypto.dsse import KeyRef, open_envelope
from crypto.errors import EnvelopeMalformed


class _Claim(msgspec.Struct):
    keyid: str


class _Claims(msgspec.Struct):
    signatures: list[_Claim]


def open_claimed(envelope: bytes, payload_type: str, place: str) -> tuple[bytes, KeyRef]:
    """The payload, and the claimed key that signed it. Raises as ``open_envelope``."""
    try:
        claims = msgspec.json.decode(envelope, type=_Claims)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise EnvelopeMalformed(place=place) from None
    claimed = [KeyRef(claim.keyid) for claim in claims.signatures]
    return open_envelope(envelope, payload_type, claimed, place=place)
