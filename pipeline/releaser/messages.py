"""What may be asked of the releaser, over its Unix socket: one request, one answer."""

from __future__ import annotations

import msgspec

from strongroom.crypto.manifest import WrappedKeyset
from strongroom.enclave.plan.parts import KeyRefs, KmsFacts
from strongroom.errors import ErrorDocument

TIMEOUT_S = 60.0
"""How long either side waits for the other."""


class _Message(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="message", kw_only=True
):
    pass


class Challenge(_Message, frozen=True, tag="challenge"):
    """Ask for a nonce that the enclave's evidence must hold; valid once."""


class ReleaseRun(_Message, frozen=True, tag="release_run"):
    """Ask for a run's keys: both datasets' keysets, a sealed evaluator's, the output keyset.

    ``outputs`` is the wrapped output keyset of a run that is resumed; a new one is made for
    ``None``.
    """

    plan: bytes
    evidence: bytes
    manifests: dict[str, bytes]
    outputs: WrappedKeyset | None = None


class ReleaseSeal(_Message, frozen=True, tag="release_seal"):
    """Ask for a new keyset to seal a dataset with."""

    evidence: bytes
    dataset: str
    kms: str


class ReleaseView(_Message, frozen=True, tag="release_view"):
    """Ask for a run's output keyset, to look at its sealed rollouts."""

    evidence: bytes
    run: str
    outputs: WrappedKeyset


class ReleaseExport(_Message, frozen=True, tag="release_export"):
    """Ask for a run's output keyset, to write its adapter in plain."""

    evidence: bytes
    run: str
    outputs: WrappedKeyset


class SignNote(_Message, frozen=True, tag="sign_note"):
    """Ask for a signature over an audit log's checkpoint."""

    kms: str
    note: bytes


class SignManifest(_Message, frozen=True, tag="sign_manifest"):
    """Ask for a signature over a dataset's manifest, by the owner's signing key."""

    payload: bytes


class PublicKeys(_Message, frozen=True, tag="public_keys"):
    """Ask for the public half of the audit key."""

    audit: str


class DescribeKeys(_Message, frozen=True, tag="describe_keys"):
    """Ask what the key services say of a run's keys."""

    keys: KeyRefs


Request = (
    Challenge
    | ReleaseRun
    | ReleaseSeal
    | ReleaseView
    | ReleaseExport
    | SignNote
    | SignManifest
    | PublicKeys
    | DescribeKeys
)


class Nonce(_Message, frozen=True, tag="nonce"):
    """The challenge."""

    nonce: str


class Released(_Message, frozen=True, tag="released"):
    """Keysets, sealed to the one enclave that gave the evidence; and the wrapped new one."""

    sealed: bytes
    keyset: WrappedKeyset


class Signed(_Message, frozen=True, tag="signed"):
    """A raw Ed25519 signature, and the key reference that verifies it."""

    signature: bytes
    signer: str


class Public(_Message, frozen=True, tag="public"):
    """The audit log's public key as ``ed25519:<base64>``."""

    audit: str


class KeysDescribed(_Message, frozen=True, tag="keys_described"):
    """What the key services answered."""

    kms: KmsFacts


class Denied(_Message, frozen=True, tag="denied"):
    """Refused, with these errors."""

    errors: tuple[ErrorDocument, ...]


Answer = Nonce | Released | Signed | Public | KeysDescribed | Denied
