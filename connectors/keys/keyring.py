"""A keyring file: keys for unit tests and machines without a key service.

Reading the file is having the keys, so it is no key service: a run whose key owner is another
person needs ``vault://``. Wrapping is AES-256-GCM with the canonical context as additional data;
signing is Ed25519. Each name has one key of both kinds.
"""

from __future__ import annotations

import base64
import binascii
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NoReturn

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from strongroom.connectors.host.private_files import NotPrivate, read_private
from strongroom.connectors.keys.errors import (
    KeyringUnusable,
    KmsContextMismatch,
    KmsKeyMissing,
    KmsWrappedInvalid,
)
from strongroom.connectors.keys.reference import KeyReference
from strongroom.crypto.digests import canonical
from strongroom.errors import bounded_json

_FORM = "local:v1:"
_NONCE_BYTES = 12
_TAG_BYTES = 16


class _Keys(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    wrap: bytes
    sign: bytes

    def __post_init__(self) -> None:
        if len(self.wrap) != 32 or len(self.sign) != 32:
            raise ValueError("keys are 32 bytes")

    def __repr__(self) -> str:
        return "_Keys(…)"


class _Keyring(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    version: int
    keys: dict[str, _Keys]


def create_local_keyring(path: Path, names: Iterable[str]) -> None:
    """Write a new keyring (mode 0600) with fresh keys for ``names``.

    Raises ``KeyringUnusable`` when the file exists already (keys are never overwritten) or cannot
    be written.
    """
    keys = {
        name: _Keys(AESGCM.generate_key(256), Ed25519PrivateKey.generate().private_bytes_raw())
        for name in names
    }
    try:
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        with os.fdopen(os.open(path, flags, 0o600), "wb") as file:
            file.write(msgspec.json.encode(_Keyring(1, keys)))
    except OSError as error:
        raise KeyringUnusable(place=str(path), actual=os.strerror(error.errno or 0)) from None


def _read(path: Path) -> _Keyring:
    place = str(path)
    try:
        content = read_private(path, max_bytes=1024 * 1024)
    except NotPrivate as reason:
        raise KeyringUnusable(place=place, actual=str(reason)) from None
    try:
        keyring = bounded_json.decode(content, shape=_Keyring)
    except msgspec.DecodeError:
        raise KeyringUnusable(place=place, actual="content of another form") from None
    if keyring.version != 1:
        raise KeyringUnusable(place=place, expected="version 1", actual=str(keyring.version))
    return keyring


def open_key(
    reference: KeyReference, _vault_addr: str | None, _credentials_file: Path | None
) -> KeyringKms:
    """See ``connectors.keys.open``. Raises ``KeyringUnusable`` and ``KmsKeyMissing``."""
    return KeyringKms(Path(reference.holder), reference.name, place=str(reference))


class KeyringKms:
    """One name of a keyring, as a ``connectors.keys.kms.Kms``. Reads the file once, when opened."""

    def __init__(self, path: Path, name: str, *, place: str) -> None:
        keys = _read(path).keys.get(name)
        if keys is None:
            raise KmsKeyMissing(place=place)
        self._aead = AESGCM(keys.wrap)
        self._signer = Ed25519PrivateKey.from_private_bytes(keys.sign)
        self._place = place

    def __reduce__(self) -> NoReturn:
        raise TypeError("keys do not leave the process that opened them")

    def wrap(self, plaintext: bytes, context: Mapping[str, str]) -> str:
        """``local:v1:`` and the base64 of nonce, ciphertext and tag."""
        nonce = os.urandom(_NONCE_BYTES)
        sealed = nonce + self._aead.encrypt(nonce, plaintext, canonical(dict(context)))
        return _FORM + base64.b64encode(sealed).decode()

    def unwrap(self, wrapped: str, context: Mapping[str, str]) -> bytes:
        """The plaintext. Raises ``KmsWrappedInvalid`` and ``KmsContextMismatch``."""
        try:
            sealed = base64.b64decode(wrapped.removeprefix(_FORM), validate=True)
        except (binascii.Error, ValueError):
            sealed = b""
        if not wrapped.startswith(_FORM) or len(sealed) < _NONCE_BYTES + _TAG_BYTES:
            raise KmsWrappedInvalid(place=self._place)
        try:
            nonce, ciphertext = sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:]
            return self._aead.decrypt(nonce, ciphertext, canonical(dict(context)))
        except InvalidTag:
            raise KmsContextMismatch(place=self._place) from None

    def check_unwraps(self) -> None:
        """Nothing: the key was read when this was made."""

    def sign(self, data: bytes) -> bytes:
        """A raw Ed25519 signature."""
        return self._signer.sign(data)

    def public_key(self) -> bytes:
        """The raw Ed25519 public key."""
        return self._signer.public_key().public_bytes_raw()
