"""A run's sealed outputs, as a key holder's command finds them in the bucket.

Such a command (``strongroom rollouts``, ``strongroom export``) has the network and the ciphertext,
and never the key or the plaintext: the enclave that it starts gets the key from the releaser,
sealed to it, and writes to descriptors that it was handed before it locked itself in. All that it
may say back is ``done`` or an error's code.
"""

from __future__ import annotations

import base64

import msgspec

from strongroom.connectors.buckets.errors import ObjectMissing
from strongroom.crypto.digests import sha256
from strongroom.crypto.errors import EnvelopeMalformed
from strongroom.crypto.manifest import SealedObject, WrappedKeyset, decode_checkpoint
from strongroom.crypto.pinned import check_digest, check_object
from strongroom.crypto.segments import HEADER_BYTES
from strongroom.errors import StrongroomError, bounded_json
from strongroom.pipeline.broker.reading import ReadAccess
from strongroom.pipeline.planning.errors import FactMissing


def output_keyset(access: ReadAccess, missing: type[StrongroomError]) -> WrappedKeyset:
    """The run's wrapped output keyset. Raises ``missing`` where there is none."""
    place = access.layout.keys
    data = access.get(place)
    if data is None:
        raise missing(place=place, expected="the run's wrapped output keyset")
    try:
        return bounded_json.decode(data, shape=WrappedKeyset)
    except msgspec.DecodeError:
        raise FactMissing(place=place, expected="a wrapped keyset") from None


def checkpoint_objects(envelope: bytes, place: str) -> dict[str, SealedObject]:
    """What a checkpoint's manifest pins, by name. Its signature is ``verify``'s to check: that an
    enclave of this run wrote an object is proven by the seal, which nobody else could make."""
    try:
        payload = base64.b64decode(bounded_json.decode(envelope)["payload"])
    except (msgspec.DecodeError, KeyError, TypeError, ValueError):
        raise EnvelopeMalformed(place=place) from None
    return decode_checkpoint(payload, place).objects


def sealed_object(
    access: ReadAccess, place: str, pinned: SealedObject, missing: type[StrongroomError]
) -> bytes:
    """The sealed object at ``place``, as its manifest pins it. Raises ``missing`` for none."""
    sealed = bytearray()
    try:
        for piece in access.stream(place):
            sealed += piece
            if len(sealed) > pinned.size_bytes:
                break
    except ObjectMissing:
        raise missing(place=place, expected=f"{pinned.size_bytes} bytes") from None
    check_object(pinned, size_bytes=len(sealed), header=sealed[:HEADER_BYTES], place=place)
    check_digest(pinned, sha256(sealed), place=place)
    return bytes(sealed)
