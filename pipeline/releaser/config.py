"""The settings that the key's owner gives a releaser."""

from __future__ import annotations

import msgspec

from strongroom.enclave.assurance import Assurance


class LogSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The log that the releaser keeps, and how its broker reaches the bucket.

    ``uri`` is the audit prefix, ``key`` the reference of the key that signs it. ``role`` is
    assumed with a token of ``oidc_role``, which the identity in ``credentials_file`` gets at
    ``vault_addr``; nobody else should be allowed to assume it. ``memory`` is a folder on a disk
    that lasts: what the releaser remembers of the log.
    """

    uri: str
    key: str
    role: str
    vault_addr: str
    credentials_file: str
    oidc_role: str
    memory: str
    endpoint: str | None = None
    ttl_s: int = 900


class ReleaserConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The owner's settings (``releaser.json``); holds no secret.

    ``measurements``: approved enclave code, see ``strongroom releaser measure``. ``signers``: keys
    whose dataset manifests count. ``manifest_signer``: the KMS key that signs new manifests.
    ``keys``: the keys that seal datasets and outputs; no other is asked for, whoever names one.
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
    keys: tuple[str, ...]
    log: LogSettings
    allowed_uids: tuple[int, ...] = ()
