"""The settings that the key's owner gives a releaser."""

from __future__ import annotations

import msgspec

from strongroom.enclave.assurance import Assurance


class ReleaserConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The owner's settings (``releaser.json``); holds no secret.

    ``measurements``: approved enclave code, see ``strongroom releaser measure``. ``signers``: keys
    whose dataset manifests count. ``manifest_signer``: the KMS key that signs new manifests.
    ``policy``: the owner's policy bundle. ``credentials_file``: the releaser's KMS identity.
    ``allowed_uids``: users of this machine who may ask, too, beside the releaser's own and root.
    """

    socket: str
    credentials_file: str
    vault_addr: str
    policy: str
    min_assurance: Assurance
    measurements: tuple[str, ...]
    signers: tuple[str, ...]
    manifest_signer: str
    allowed_uids: tuple[int, ...] = ()
