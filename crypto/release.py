"""Key release: keysets sealed to one enclave and to the evidence that it gave.

HPKE (RFC 9180) in base mode, X25519 / HKDF-SHA256 / AES-256-GCM. The enclave makes a key pair for
one run, puts the public key into its evidence and never lets the private key out. The digest of
the evidence stands in HPKE's ``info``: keys released for one piece of evidence do not open under
another, even with the same key pair.

Base mode does not authenticate the sender. The enclave must therefore compare every dataset keyset
with the commitment in the signed manifest (``crypto.pinned.check_keyset``) before it uses anything
from the same release: only a sender that unwrapped the dataset's key can have sealed it.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.hpke import AEAD, KDF, KEM, Suite

from strongroom.crypto.digests import Sha256, parse_sha256
from strongroom.crypto.errors import (
    CryptoError,
    ReleaseKeyInvalid,
    ReleaseMalformed,
    ReleaseRefused,
)
from strongroom.crypto.keyset import Keyset
from strongroom.errors import bounded_json

PUBLIC_KEY_BYTES = 32
_INFO = b"strongroom/release/v1|"
_SUITE = Suite(KEM.X25519, KDF.HKDF_SHA256, AEAD.AES_256_GCM)


def new_private_key() -> X25519PrivateKey:
    """A key pair for one run of one enclave."""
    return X25519PrivateKey.generate()


def public_bytes(private_key: X25519PrivateKey) -> bytes:
    """The raw 32-byte public key, which goes into the evidence."""
    return private_key.public_key().public_bytes_raw()


def seal_keys(keysets: Mapping[str, Keyset], public_key: bytes, evidence_digest: Sha256) -> bytes:
    """Seal keysets, by name, to the holder of ``public_key`` and to ``evidence_digest``.

    Raises ``ReleaseKeyInvalid`` and ``DigestMalformed``.
    """
    info = _info(evidence_digest)
    message = msgspec.json.encode({name: keyset.to_tink() for name, keyset in keysets.items()})
    try:
        # A public key of low order makes the exchange fail here rather than be predictable.
        return _SUITE.encrypt(message, X25519PublicKey.from_public_bytes(public_key), info)
    except ValueError:
        raise ReleaseKeyInvalid(
            expected=f"{PUBLIC_KEY_BYTES} bytes, a point of high order",
            actual=f"{len(public_key)} bytes",
        ) from None


def open_keys(
    sealed: bytes, private_key: X25519PrivateKey, evidence_digest: Sha256
) -> dict[str, Keyset]:
    """The released keysets by name.

    Raises ``ReleaseRefused`` (other enclave, other evidence, or changed bytes),
    ``ReleaseMalformed`` and ``DigestMalformed``.
    """
    info = _info(evidence_digest)
    try:
        message = _SUITE.decrypt(sealed, private_key, info)
    except (InvalidTag, ValueError):
        raise ReleaseRefused(place="key release") from None
    try:
        named = bounded_json.decode(message, shape=dict[str, bytes])
        return {name: Keyset.from_tink(data) for name, data in named.items()}
    except (msgspec.DecodeError, CryptoError):
        # The cause may quote what was decrypted; it is cut off.
        raise ReleaseMalformed(place="key release") from None


def _info(evidence_digest: Sha256) -> bytes:
    return _INFO + parse_sha256(evidence_digest, place="evidence digest").encode()
