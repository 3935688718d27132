"""Compare what a manifest pins with what a bucket or a KMS returned; each check returns or raises.

``check_object`` costs nothing and is made before an object is opened: with the pinned header and
length, opening its segments proves the rest. ``check_digest`` needs a pass over all bytes; it is
for verification without a key.
"""

from __future__ import annotations

from strongroom.crypto.digests import Buffer, Sha256
from strongroom.crypto.errors import (
    CommitmentMismatch,
    HeaderMismatch,
    KeyIdMismatch,
    ObjectDigestMismatch,
    ObjectExtended,
    ObjectTruncated,
)
from strongroom.crypto.keyset import Keyset
from strongroom.crypto.manifest import SealedObject, Shard, WrappedKeyset


def check_object(
    pinned: Shard | SealedObject, *, size_bytes: int, header: Buffer, place: str = ""
) -> None:
    """Compare an object's length and first 40 bytes with its manifest.

    Raises ``ObjectTruncated``, ``ObjectExtended`` and ``HeaderMismatch``. ``place`` is the object's
    name if not given.
    """
    place = place or pinned.object
    check_size(pinned, size_bytes, place=place)
    if bytes(header) != pinned.header_bytes:
        raise HeaderMismatch(place=place)


def check_size(pinned: Shard | SealedObject, size_bytes: int, *, place: str = "") -> None:
    """Compare an object's length, as in a listing, with its manifest.

    Raises ``ObjectTruncated`` and ``ObjectExtended``.
    """
    if size_bytes != pinned.size_bytes:
        error = ObjectTruncated if size_bytes < pinned.size_bytes else ObjectExtended
        raise error(
            place=place or pinned.object,
            expected=f"{pinned.size_bytes} bytes",
            actual=f"{size_bytes} bytes",
        )


def check_digest(pinned: Shard | SealedObject, actual: Sha256, *, place: str = "") -> None:
    """Compare the SHA-256 of a whole sealed object with its manifest.

    Raises ``ObjectDigestMismatch``.
    """
    if actual != pinned.sha256:
        raise ObjectDigestMismatch(
            place=place or pinned.object, expected=pinned.sha256, actual=actual
        )


def check_keyset(pinned: WrappedKeyset, keyset: Keyset, *, place: str = "keyset") -> None:
    """Compare a released key with its manifest, before anything is opened with it.

    Raises ``KeyIdMismatch`` and ``CommitmentMismatch``.
    """
    if keyset.key_id != pinned.key_id:
        raise KeyIdMismatch(
            place=place, expected=f"key id {pinned.key_id}", actual=f"key id {keyset.key_id}"
        )
    if keyset.commitment() != pinned.commitment:
        raise CommitmentMismatch(
            place=place, expected=pinned.commitment, actual=keyset.commitment()
        )
