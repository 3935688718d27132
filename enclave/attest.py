"""From a locked process to one that holds keys: make key pairs, send evidence, open the keys.

Shared by every role; ``enclave.roles.lifecycle`` calls it at the right moment.
"""

from __future__ import annotations

import base64
from dataclasses import dataclass

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from strongroom.crypto.digests import Sha256, digest_of
from strongroom.crypto.dsse import key_ref
from strongroom.crypto.keyset import Keyset
from strongroom.crypto.release import new_private_key, open_keys, public_bytes, seal_keys
from strongroom.enclave.assurance import Assurance
from strongroom.enclave.channel import frames
from strongroom.enclave.channel.errors import ChannelViolation
from strongroom.enclave.channel.framing import Channel
from strongroom.enclave.evidence import Evidence, Role, evidence_digest

COMMANDS: msgspec.json.Decoder[frames.Command] = msgspec.json.Decoder(frames.Command)


@dataclass(frozen=True)
class Attested:
    """What an enclave holds once the releaser has accepted its evidence."""

    keysets: dict[str, Keyset]
    signing_key: Ed25519PrivateKey


def seal_subject(dataset: str, kms: str) -> Sha256:
    """What a sealer attests to in place of a plan: which dataset, under which key."""
    return digest_of({"subject": "seal", "dataset": dataset, "kms": kms})


def view_subject(run: str) -> Sha256:
    """What a viewer attests to in place of a plan: whose outputs it will show."""
    return digest_of({"subject": "view", "run": run})


def export_subject(run: str) -> Sha256:
    """What an exporter attests to in place of a plan: whose adapter it will write in plain."""
    return digest_of({"subject": "export", "run": run})


def warm_up_primitives() -> None:
    """Use every primitive once before the lock-down, so that no lazy import happens after it."""
    key = new_private_key()
    digest = Sha256("sha256:" + "0" * 64)
    open_keys(seal_keys({"warm": Keyset.generate()}, public_bytes(key), digest), key, digest)
    signing = Ed25519PrivateKey.generate()
    signature = signing.sign(b"")
    signing.public_key().verify(signature, b"")
    signing.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
    keyset = Keyset.generate()
    sealed = keyset.streaming().seal_deterministic(b"warm", b"")
    keyset.streaming().open(sealed, b"")


def attest(
    channel: Channel,
    *,
    role: Role,
    assurance: Assurance,
    measurement: str,
    plan_digest: str,
    nonce: str,
    probes: dict[str, str],
    warnings: tuple[str, ...],
) -> Attested:
    """Send evidence and wait for the keys that the releaser seals to it."""
    private_key = new_private_key()
    signing_key = Ed25519PrivateKey.generate()
    raw = signing_key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
    evidence = Evidence(
        role=role,
        assurance=assurance,
        measurement=measurement,
        plan_digest=plan_digest,
        nonce=nonce,
        hpke_key=base64.b64encode(public_bytes(private_key)).decode(),
        signing_key=key_ref(raw),
        probes=probes,
        warnings=warnings,
    )
    channel.send_record(frames.EvidenceFrame(evidence=msgspec.json.encode(evidence)))
    command = channel.recv_record(COMMANDS)
    if not isinstance(command, frames.Keys):
        raise ChannelViolation(place="broker", expected="keys", actual=type(command).__name__)
    keysets = open_keys(command.sealed, private_key, evidence_digest(evidence))
    return Attested(keysets, signing_key)
