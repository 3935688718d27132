"""Keys for other purposes, derived from a data key without touching the keys of sealed objects.

Objects use ``HKDF-SHA256(key, salt of 32 bytes, identity)``. Here the salt is longer than 32 bytes
and does not end in zeros, so it equals no object's salt even after HMAC pads both: the two families
never share an HKDF pseudo-random key, whatever is in a header or an identity.
"""

from __future__ import annotations

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

SUBKEY_SALT = b"strongroom/subkey/v1: longer than any object's salt"


def subkey(key: bytes, purpose: bytes) -> bytes:
    """32 bytes, ``HKDF-SHA256(key, SUBKEY_SALT, info = purpose)`` (RFC 5869)."""
    return HKDF(SHA256(), 32, SUBKEY_SALT, purpose).derive(key)
