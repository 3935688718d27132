"""What Strongroom needs of a key service: one small interface to one key.

Wrapping binds a *context* (a mapping of names, such as the dataset's): the same context must be
given to unwrap, or the service refuses. Signing is Ed25519.

Keys stay in the service; what is unwrapped is returned and not kept. Servers' messages are never
repeated in errors, each cause has an error of its own, and nothing here logs.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol


class Kms(Protocol):
    """One key in a key service.

    ``wrap``/``unwrap`` need a symmetric key, ``sign``/``public_key`` an Ed25519 key; a key of the
    other kind raises ``KmsKeyUnfit``. All raise the ``Kms…`` errors.
    """

    def wrap(self, plaintext: bytes, context: Mapping[str, str]) -> str:
        """Encrypt a small secret (a keyset) under the key, bound to ``context``."""
        ...

    def unwrap(self, wrapped: str, context: Mapping[str, str]) -> bytes:
        """The secret again. Raises ``KmsContextMismatch`` for another context."""
        ...

    def check_unwraps(self) -> None:
        """Raise ``KmsKeyMissing`` or ``KmsRefused`` unless this identity may unwrap with the key.

        Opens nothing, and tells nothing about whether anything was wrapped.
        """
        ...

    def sign(self, data: bytes) -> bytes:
        """A raw Ed25519 signature (64 bytes) over ``data``."""
        ...

    def public_key(self) -> bytes:
        """The raw Ed25519 public key (32 bytes)."""
        ...
