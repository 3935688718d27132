"""Open a key by its reference: the one place that knows every kind of key service."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import get_args

from strongroom.connectors.keys.errors import KmsIdentityUnusable
from strongroom.connectors.keys.kms import Kms
from strongroom.connectors.keys.reference import KeyReference, Scheme, parse


def open_kms(
    ref: str, *, vault_addr: str | None = None, credentials_file: Path | None = None
) -> Kms:
    """The key that ``ref`` names. Does not contact the service yet.

    ``vault_addr`` defaults to the address in ``credentials_file``; both are for ``vault`` only.
    Raises ``KmsReferenceInvalid``, ``KmsIdentityUnusable`` (vault without a usable credentials
    file), ``KeyringUnusable`` and, for a name that the keyring lacks, ``KmsKeyMissing``.
    """
    reference = parse(ref)
    return _OPENERS[reference.scheme](reference, vault_addr, credentials_file)


def _vault(reference: KeyReference, addr: str | None, credentials_file: Path | None) -> Kms:
    from strongroom.connectors.access.errors import IdentityFileUnusable
    from strongroom.connectors.access.identity import VaultSession
    from strongroom.connectors.keys.vault import VaultTransit

    if credentials_file is None:
        raise KmsIdentityUnusable(place=str(reference), actual="no credentials file")
    try:
        session = VaultSession(credentials_file, addr)
    except IdentityFileUnusable as error:
        raise KmsIdentityUnusable(place=error.place, actual=error.actual) from None
    return VaultTransit(session, reference)


def _local(reference: KeyReference, _addr: str | None, _credentials_file: Path | None) -> Kms:
    from strongroom.connectors.keys.keyring import KeyringKms

    return KeyringKms(Path(reference.holder), reference.name, place=str(reference))


_OPENERS: dict[Scheme, Callable[[KeyReference, str | None, Path | None], Kms]] = {
    "vault": _vault,
    "local": _local,
}
assert _OPENERS.keys() == set(get_args(Scheme))  # noqa: S101 - a row for each scheme
