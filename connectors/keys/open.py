"""Open a key by its reference, whichever key service holds it."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Protocol, cast

from strongroom.connectors.keys.kms import Kms
from strongroom.connectors.keys.reference import SERVICES, KeyReference, parse


class _Service(Protocol):
    """What the module of a key service has."""

    def open_key(
        self, reference: KeyReference, vault_addr: str | None, credentials_file: Path | None
    ) -> Kms:
        """The key, without contacting the service yet."""


def open_kms(
    ref: str, *, vault_addr: str | None = None, credentials_file: Path | None = None
) -> Kms:
    """The key that ``ref`` names. Does not contact the service yet.

    ``vault_addr`` defaults to the address in ``credentials_file``; both are for ``vault`` only.
    Raises ``KmsReferenceInvalid``, ``KmsIdentityUnusable`` (vault without a usable credentials
    file), ``KeyringUnusable`` and, for a name that the keyring lacks, ``KmsKeyMissing``.
    """
    reference = parse(ref)
    service = cast("_Service", importlib.import_module(SERVICES[reference.scheme].module))
    return service.open_key(reference, vault_addr, credentials_file)
