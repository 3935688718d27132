"""Open a key service by a key's reference."""

from __future__ import annotations

import re
from pathlib import Path

from strongroom.connectors.access.errors import IdentityFileUnusable
from strongroom.connectors.access.identity import VaultSession
from strongroom.connectors.keys.errors import KmsIdentityUnusable, KmsReferenceInvalid
from strongroom.connectors.keys.keyring import KeyringKms
from strongroom.connectors.keys.kms import Kms
from strongroom.connectors.keys.vault import VaultTransit

_VAULT_REFERENCE = re.compile(r"vault://([A-Za-z0-9_-]+(?:/[A-Za-z0-9_-]+)*)/([A-Za-z0-9_.-]+)")


_LOCAL_REFERENCE = re.compile(r"local://(/[^#?*\x00-\x1f]+)#([A-Za-z0-9_.-]+)")


def open_kms(
    ref: str, *, vault_addr: str | None = None, credentials_file: Path | None = None
) -> Kms:
    """The key that ``ref`` names. Does not contact the service yet.

    ``vault_addr`` defaults to the address in ``credentials_file``. Raises ``KmsReferenceInvalid``,
    ``KmsIdentityUnusable`` (vault without a usable credentials file), ``KeyringUnusable`` and, for
    a name that the keyring lacks, ``KmsKeyMissing``.
    """
    if match := _LOCAL_REFERENCE.fullmatch(ref):
        return KeyringKms(Path(match[1]), match[2], place=ref)
    if match := _VAULT_REFERENCE.fullmatch(ref):
        if credentials_file is None:
            raise KmsIdentityUnusable(place=ref, actual="no credentials file")
        try:
            session = VaultSession(credentials_file, vault_addr)
        except IdentityFileUnusable as error:
            raise KmsIdentityUnusable(place=error.place, actual=error.actual) from None
        return VaultTransit(session, match[1], match[2])
    raise KmsReferenceInvalid(place=ref[:200])
