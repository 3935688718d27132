"""What may be asked of the releaser, over its Unix socket: one request, one answer."""

from __future__ import annotations

import msgspec

from strongroom.audit.events.entries import Event
from strongroom.audit.events.types import AdapterExported, RolloutsOpened
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

    ``run`` is the id that the log has it under: the plan's, or that of a replay. ``outputs`` is the
    wrapped output keyset of a run that is resumed; a new one is made for ``None``.
    """

    run: str
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
    opened: RolloutsOpened
    """What it is for; the releaser says so in the log."""


class ReleaseExport(_Message, frozen=True, tag="release_export"):
    """Ask for a run's output keyset, to write its adapter in plain."""

    evidence: bytes
    run: str
    outputs: WrappedKeyset
    exported: AdapterExported
    """What it is for; the releaser says so in the log."""


class Append(_Message, frozen=True, tag="append"):
    """Ask to take events of one run into the log, in this order, all or none.

    An event that is in the log already, as it is here, counts as taken: so a request whose answer
    was lost can be repeated. Without events, whatever was taken is published.
    """

    events: tuple[Event, ...]


class SignManifest(_Message, frozen=True, tag="sign_manifest"):
    """Ask for a signature over a dataset's manifest, by the owner's signing key."""

    payload: bytes


class WhichLog(_Message, frozen=True, tag="which_log"):
    """Ask which log this releaser keeps."""


class DescribeKeys(_Message, frozen=True, tag="describe_keys"):
    """Ask what the key services say of a run's keys."""

    keys: KeyRefs


Request = (
    Challenge
    | ReleaseRun
    | ReleaseSeal
    | ReleaseView
    | ReleaseExport
    | Append
    | SignManifest
    | WhichLog
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


class Taken(_Message, frozen=True, tag="taken"):
    """The events are in the log, under a published checkpoint over this many entries."""

    size: int


class Log(_Message, frozen=True, tag="log"):
    """The log that this releaser keeps: its address and its verifier key."""

    uri: str
    vkey: str


class KeysDescribed(_Message, frozen=True, tag="keys_described"):
    """What the key services answered."""

    kms: KmsFacts


class Denied(_Message, frozen=True, tag="denied"):
    """Refused, with these errors."""

    errors: tuple[ErrorDocument, ...]


Answer = Nonce | Released | Signed | Taken | Log | KeysDescribed | Denied
