"""Data keys as Tink keysets, so that every Tink (Java, Go, C++, Python) can use them.

A keyset here holds exactly one key: enabled, RAW, ``AesGcmHkdfStreamingKey`` with the parameters of
the template ``AES256_GCM_HKDF_1MB``. A dataset with another key is another keyset and another
manifest, so there is nothing to rotate inside.

``commitment`` binds a manifest to the key: AES-GCM does not commit to its key, and someone who
holds two keys can make one ciphertext that opens as two different datasets
(https://eprint.iacr.org/2019/016). The commitment is a one-way image of the key and may be public.
"""

from __future__ import annotations

import hmac
import os
import secrets

from strongroom.crypto import proto
from strongroom.crypto.digests import Sha256
from strongroom.crypto.errors import KeysetMalformed, KeysetUnsupported
from strongroom.crypto.secrecy import Secret
from strongroom.crypto.segments import SEGMENT_BYTES
from strongroom.crypto.streaming import KEY_BYTES, StreamingKey
from strongroom.crypto.subkeys import subkey

TYPE_URL = "type.googleapis.com/google.crypto.tink.AesGcmHkdfStreamingKey"
MAX_KEY_ID = (1 << 32) - 1
_SYMMETRIC, _ENABLED, _RAW, _SHA256 = 1, 1, 3, 3
_MAX_KEYSET_BYTES = 4096


class Keyset(Secret):
    """One data key with its id. Immutable; prints and pickles nothing."""

    __slots__ = ("_key", "_key_id")

    def __init__(self, key_id: int, key: bytes) -> None:
        if not 1 <= key_id <= MAX_KEY_ID:
            raise ValueError("a key id is between 1 and 2^32 - 1")
        if len(key) != KEY_BYTES:
            raise ValueError(f"a key has {KEY_BYTES} bytes, not {len(key)}")
        self._key_id = key_id
        self._key = bytes(key)

    @property
    def key_id(self) -> int:
        """The key's id, which is public and part of what is authenticated with each shard."""
        return self._key_id

    @property
    def key(self) -> bytes:
        """The 32 secret bytes."""
        return self._key

    @classmethod
    def generate(cls) -> Keyset:
        """A new random key with a random id."""
        return cls(secrets.randbelow(MAX_KEY_ID) + 1, os.urandom(KEY_BYTES))

    @classmethod
    def from_tink(cls, data: bytes, *, place: str = "keyset") -> Keyset:
        """Read a cleartext binary Tink keyset (``google.crypto.tink.Keyset``).

        Raises ``KeysetMalformed`` and ``KeysetUnsupported``.
        """
        if len(data) > _MAX_KEYSET_BYTES:
            raise KeysetMalformed(place=place, expected=f"at most {_MAX_KEYSET_BYTES} bytes")
        try:
            return _read_keyset(bytes(data), place)
        except proto.ProtoError as error:
            raise KeysetMalformed(place=place, actual=str(error)) from None

    def to_tink(self) -> bytes:
        """The keyset as cleartext binary Tink keyset. Secret: wrap it before it leaves."""
        params = b"".join(
            (
                proto.integer_field(1, SEGMENT_BYTES),
                proto.integer_field(2, KEY_BYTES),
                proto.integer_field(3, _SHA256),
            )
        )
        key_data = b"".join(
            (
                proto.bytes_field(1, TYPE_URL.encode()),
                proto.bytes_field(
                    2, proto.bytes_field(2, params) + proto.bytes_field(3, self._key)
                ),
                proto.integer_field(3, _SYMMETRIC),
            )
        )
        key = b"".join(
            (
                proto.bytes_field(1, key_data),
                proto.integer_field(2, _ENABLED),
                proto.integer_field(3, self._key_id),
                proto.integer_field(4, _RAW),
            )
        )
        return proto.integer_field(1, self._key_id) + proto.bytes_field(2, key)

    def commitment(self) -> Sha256:
        """``HKDF-SHA256(key, SUBKEY_SALT, info = "commit")``, written in the form of a digest."""
        return Sha256("sha256:" + subkey(self._key, b"commit").hex())

    def streaming(self) -> StreamingKey:
        """The key, ready to seal and open objects."""
        return StreamingKey(self._key)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Keyset):
            return NotImplemented
        return self._key_id == other._key_id and hmac.compare_digest(self._key, other._key)

    def __hash__(self) -> int:
        return hash((Keyset, self._key_id))


def _read_keyset(data: bytes, place: str) -> Keyset:
    keyset = proto.Message(data, {1: int, 2: bytes})
    keys = keyset.blobs(2)
    if len(keys) != 1:
        raise KeysetUnsupported(place=place, expected="one key", actual=f"{len(keys)} keys")
    entry = proto.Message(keys[0], {1: bytes, 2: int, 3: int, 4: int})
    key_data = proto.Message(entry.blob(1), {1: bytes, 2: bytes, 3: int})
    key_id = entry.integer(3)
    wanted = {
        "key type": (key_data.blob(1) == TYPE_URL.encode(), "AesGcmHkdfStreamingKey"),
        "key material": (key_data.integer(3) == _SYMMETRIC, "SYMMETRIC"),
        "status": (entry.integer(2) == _ENABLED, "ENABLED"),
        "output prefix": (entry.integer(4) == _RAW, "RAW"),
        "primary key": (keyset.integer(1) == key_id, "the only key"),
        "key id": (1 <= key_id <= MAX_KEY_ID, "1 to 2^32 - 1"),
    }
    _require(wanted, place)
    streaming = proto.Message(key_data.blob(2), {1: int, 2: bytes, 3: bytes})
    params = proto.Message(streaming.blob(2), {1: int, 2: int, 3: int})
    key = streaming.blob(3)
    wanted = {
        "key version": (streaming.integer(1) == 0, "0"),
        "segment size": (params.integer(1) == SEGMENT_BYTES, f"{SEGMENT_BYTES} bytes"),
        "derived key size": (params.integer(2) == KEY_BYTES, f"{KEY_BYTES} bytes"),
        "HKDF hash": (params.integer(3) == _SHA256, "SHA256"),
        "key size": (len(key) == KEY_BYTES, f"{KEY_BYTES} bytes"),
    }
    _require(wanted, place)
    return Keyset(key_id, key)


def _require(wanted: dict[str, tuple[bool, str]], place: str) -> None:
    for what, (holds, expected) in wanted.items():
        if not holds:
            raise KeysetUnsupported(place=place, expected=f"{what}: {expected}")
