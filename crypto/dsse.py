"""Signed statements: DSSE v1 envelopes with Ed25519 signatures.

What is signed is the payload's exact bytes together with its type (``pae``), so a signature for one
purpose is worth nothing for another, and nothing is parsed before it is verified. A key id in an
envelope is an unsigned hint: it chooses the error message, never the outcome. One valid signature
by one trusted key suffices; fields that DSSE does not define are ignored, as it demands.

Source: https://github.com/secure-systems-lab/dsse
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Collection
from typing import NewType

import msgspec
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from strongroom.crypto.digests import canonical
from strongroom.crypto.errors import (
    EnvelopeMalformed,
    KeyReferenceMalformed,
    PayloadTypeWrong,
    SignatureRefused,
    SignerMismatch,
    SignerNotListed,
)
from strongroom.errors import bounded_json

KeyRef = NewType("KeyRef", str)
"""An Ed25519 public key as ``ed25519:<standard base64 of the 32 raw bytes>``."""

MAX_SIGNATURES = 16
_PREFIX = "ed25519:"
_PUBLIC_KEY_BYTES = 32


class _Signature(msgspec.Struct, frozen=True):
    sig: str
    keyid: str = ""


class _Envelope(msgspec.Struct, frozen=True):
    payload: str
    payloadType: str  # noqa: N815 - the name is DSSE's
    signatures: tuple[_Signature, ...]


def key_ref(public_key: bytes) -> KeyRef:
    """The reference to a raw 32-byte Ed25519 public key. Raises ``KeyReferenceMalformed``."""
    if len(public_key) != _PUBLIC_KEY_BYTES:
        raise KeyReferenceMalformed(expected="32 bytes", actual=f"{len(public_key)} bytes")
    return KeyRef(_PREFIX + base64.b64encode(public_key).decode())


def parse_key_ref(text: str, *, place: str = "") -> KeyRef:
    """``text`` as a key reference, in its one canonical form. Raises ``KeyReferenceMalformed``."""
    raw = b""
    if text.startswith(_PREFIX):
        try:
            raw = base64.b64decode(text.removeprefix(_PREFIX), validate=True)
        except (binascii.Error, ValueError):
            raw = b""
    if len(raw) != _PUBLIC_KEY_BYTES or key_ref(raw) != text:
        raise KeyReferenceMalformed(place=place, expected="ed25519:<base64 of 32 bytes>")
    return KeyRef(text)


def public_key(keyref: KeyRef) -> bytes:
    """The raw 32 bytes of a key reference. Raises ``KeyReferenceMalformed``."""
    return base64.b64decode(parse_key_ref(keyref).removeprefix(_PREFIX))


def pae(payload_type: str, payload: bytes) -> bytes:
    """DSSE's pre-authentication encoding: the bytes that are signed."""
    kind = payload_type.encode()
    return b"DSSEv1 %d %b %d %b" % (len(kind), kind, len(payload), payload)


def sign_envelope(
    payload_type: str, payload: bytes, keyref: KeyRef, sign: Callable[[bytes], bytes]
) -> bytes:
    """A canonical JSON envelope with one signature.

    ``sign`` (usually a KMS) gets ``pae`` and returns the raw 64-byte signature, which is checked
    here: an envelope that cannot be opened is found when it is made. Raises ``SignerMismatch`` and
    ``KeyReferenceMalformed``.
    """
    message = pae(payload_type, payload)
    signature = sign(message)
    if not _verifies(keyref, signature, message):
        raise SignerMismatch(place=keyref, actual=f"{len(signature)} bytes")
    return canonical(
        {
            "payload": base64.b64encode(payload).decode(),
            "payloadType": payload_type,
            "signatures": [{"keyid": keyref, "sig": base64.b64encode(signature).decode()}],
        }
    )


def open_envelope(
    envelope: bytes, payload_type: str, trusted: Collection[KeyRef], *, place: str
) -> tuple[bytes, KeyRef]:
    """The payload and the trusted key that signed it.

    Raises ``EnvelopeMalformed``, ``PayloadTypeWrong``, ``SignerNotListed`` (no signature is by a
    trusted key, or names one) or ``SignatureRefused`` (one names one but does not verify).
    """
    try:
        parsed = bounded_json.decode(envelope, shape=_Envelope)
    except msgspec.DecodeError as error:
        raise EnvelopeMalformed(place=place, actual=str(error)) from None
    if len(parsed.signatures) > MAX_SIGNATURES:
        raise EnvelopeMalformed(
            place=place,
            expected=f"at most {MAX_SIGNATURES} signatures",
            actual=f"{len(parsed.signatures)}",
        )
    payload = _base64(parsed.payload, f"{place} payload")
    signatures = [
        (entry.keyid, _base64(entry.sig, f"{place} signature {i}"))
        for i, entry in enumerate(parsed.signatures)
    ]
    if parsed.payloadType != payload_type:
        raise PayloadTypeWrong(
            place=place, expected=payload_type, actual=_shown(parsed.payloadType)
        )
    message = pae(payload_type, payload)
    for keyref in trusted:
        for _, signature in signatures:
            if _verifies(keyref, signature, message):
                return payload, keyref
    named = [keyid for keyid, _ in signatures]
    listed = [keyid for keyid in named if keyid in trusted]
    if listed:
        raise SignatureRefused(place=place, expected=f"a signature by {listed[0]}")
    raise SignerNotListed(
        place=place,
        expected=" or ".join(trusted) or "a listed key, but none is listed",
        actual=", ".join(_shown(keyid) or "a signature without key id" for keyid in named)
        or "no signature",
    )


def open_self_signed(envelope: bytes, payload_type: str, *, place: str) -> tuple[bytes, KeyRef]:
    """The payload and its signer, where any key will do: each key id is trusted to be its own.

    Such a signature shows only that the envelope is whole. Use it where the envelope's digest is
    pinned elsewhere, or where the signer is compared with a known key afterwards. Raises as
    :func:`open_envelope`, and ``KeyReferenceMalformed`` for a key id that is no key.
    """
    try:
        parsed = bounded_json.decode(envelope, shape=_Envelope)
    except msgspec.DecodeError:
        raise EnvelopeMalformed(place=place) from None
    signers = [parse_key_ref(signature.keyid, place=place) for signature in parsed.signatures]
    return open_envelope(envelope, payload_type, signers, place=place)


def _verifies(keyref: KeyRef, signature: bytes, message: bytes) -> bool:
    try:
        Ed25519PublicKey.from_public_bytes(public_key(keyref)).verify(signature, message)
    except (InvalidSignature, ValueError):
        return False
    return True


def _base64(text: str, place: str) -> bytes:
    """Standard or URL-safe base64: DSSE lets signers choose."""
    try:
        return base64.b64decode(text.replace("-", "+").replace("_", "/"), validate=True)
    except (binascii.Error, ValueError):
        raise EnvelopeMalformed(place=place, expected="base64") from None


def _shown(text: str) -> str:
    """Text from an unverified envelope, made fit to print."""
    return text[:120].encode("ascii", "backslashreplace").decode() if text.isprintable() else "?"
