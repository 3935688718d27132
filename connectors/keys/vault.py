"""OpenBao or Vault transit as a key service."""

from __future__ import annotations

import base64
import binascii
import contextlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NoReturn

import hvac
import requests
from hvac import exceptions as vault

from strongroom.connectors.access.errors import (
    IdentityFileUnusable,
    IdentityRefused,
    IdentitySealed,
    IdentityUnreachable,
)
from strongroom.connectors.access.identity import VaultSession
from strongroom.connectors.keys.errors import (
    KmsContextMismatch,
    KmsFailed,
    KmsIdentityUnusable,
    KmsKeyMissing,
    KmsKeyUnfit,
    KmsRefused,
    KmsSealed,
    KmsUnreachable,
    KmsWrappedInvalid,
)
from strongroom.connectors.keys.reference import KeyReference
from strongroom.crypto.digests import canonical


def open_key(
    reference: KeyReference, vault_addr: str | None, credentials_file: Path | None
) -> VaultTransit:
    """See ``connectors.keys.open``. Raises ``KmsIdentityUnusable``."""
    if credentials_file is None:
        raise KmsIdentityUnusable(place=str(reference), actual="no credentials file")
    try:
        session = VaultSession(credentials_file, vault_addr)
    except IdentityFileUnusable as error:
        raise KmsIdentityUnusable(place=error.place, actual=error.actual) from None
    return VaultTransit(session, reference)


class VaultTransit:
    """One key of a transit engine. A refusal by the service is final; only a 500 is asked again."""

    def __init__(self, session: VaultSession, reference: KeyReference) -> None:
        self._session = session
        self._mount = reference.holder
        self._key = reference.name
        self._place = str(reference)

    def __reduce__(self) -> NoReturn:
        raise TypeError("a key service does not leave the process that opened it")

    def wrap(self, plaintext: bytes, context: Mapping[str, str]) -> str:
        answer = self._call(
            lambda client: client.secrets.transit.encrypt_data(
                self._key,
                plaintext=_base64(plaintext),
                context=_base64(canonical(dict(context))),
                mount_point=self._mount,
            )
        )
        return str(answer["data"]["ciphertext"])

    def unwrap(self, wrapped: str, context: Mapping[str, str]) -> bytes:
        answer = self._call(
            lambda client: client.secrets.transit.decrypt_data(
                self._key,
                ciphertext=wrapped,
                context=_base64(canonical(dict(context))),
                mount_point=self._mount,
            )
        )
        return self._bytes(answer["data"]["plaintext"])

    def check_unwraps(self) -> None:
        # Grant and key are looked for before the text, which is no ciphertext of any key.
        with contextlib.suppress(KmsWrappedInvalid, KmsContextMismatch):
            self.unwrap("vault:v1:AAAA", {})

    def sign(self, data: bytes) -> bytes:
        answer = self._call(
            lambda client: client.secrets.transit.sign_data(
                self._key, hash_input=_base64(data), mount_point=self._mount
            )
        )
        return self._bytes(str(answer["data"]["signature"]).rpartition(":")[2])

    def public_key(self) -> bytes:
        answer = self._call(
            lambda client: client.secrets.transit.read_key(self._key, mount_point=self._mount)
        )
        data = answer["data"]
        if data["type"] != "ed25519":
            raise KmsKeyUnfit(place=self._place, expected="ed25519", actual=str(data["type"])[:40])
        return self._bytes(data["keys"][str(data["latest_version"])]["public_key"])

    def _bytes(self, text: str) -> bytes:
        try:
            return base64.b64decode(text, validate=True)
        except (binascii.Error, ValueError):
            raise KmsFailed(place=self._place, actual="an answer that is not base64") from None

    def _call(self, request: Callable[[hvac.Client], dict[str, Any]]) -> dict[str, Any]:
        try:
            return self._session.call(request)
        except (IdentitySealed, vault.VaultDown):
            raise KmsSealed(place=self._place) from None
        except IdentityUnreachable as error:
            raise KmsUnreachable(place=self._place, actual=error.actual) from None
        except IdentityRefused:
            raise KmsRefused(place=self._place, actual="the login was refused") from None
        except IdentityFileUnusable as error:
            raise KmsIdentityUnusable(place=error.place, actual=error.actual) from None
        except (vault.Forbidden, vault.Unauthorized):
            raise KmsRefused(place=self._place, actual="permission denied") from None
        except vault.InvalidPath:
            raise KmsKeyMissing(place=self._place) from None
        except vault.InvalidRequest as error:
            raise self._refusal(error) from None
        except vault.VaultError as error:
            raise KmsFailed(place=self._place, actual=type(error).__name__) from None
        except requests.RequestException as error:
            raise KmsUnreachable(place=self._place, actual=type(error).__name__) from None

    def _refusal(self, error: vault.InvalidRequest) -> Exception:
        """The cause of a 400, which only the text tells. The text itself is dropped."""
        text = str(error)
        if "message authentication failed" in text:
            return KmsContextMismatch(place=self._place)
        if "key not found" in text:
            return KmsKeyMissing(place=self._place)
        if "not support" in text or "context" in text:
            return KmsKeyUnfit(place=self._place)
        if "disallowed" in text:
            return KmsRefused(place=self._place, actual="a key version that is no longer allowed")
        if "ciphertext" in text:
            return KmsWrappedInvalid(place=self._place)
        return KmsFailed(place=self._place, actual="a refusal without a known cause")


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()
