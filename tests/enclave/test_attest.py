"""Evidence out, keys in: what an enclave sends before it holds a key, and what it then accepts."""

from __future__ import annotations

import base64
import threading
from collections.abc import Callable
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from strongroom.crypto.digests import Sha256, digest_of
from strongroom.crypto.errors import ReleaseRefused
from strongroom.crypto.keyset import Keyset
from strongroom.crypto.release import new_private_key, public_bytes, seal_keys
from strongroom.enclave.attest import (
    attest,
    export_subject,
    seal_subject,
    view_subject,
    warm_up_primitives,
)
from strongroom.enclave.channel import frames
from strongroom.enclave.channel.errors import ChannelBroken, ChannelViolation
from strongroom.enclave.channel.frames import RECORDS
from strongroom.enclave.channel.framing import Channel
from strongroom.enclave.evidence import Evidence, decode_evidence, evidence_digest

DIGEST = "sha256:" + "a" * 64
NONCE = "n" * 22
KEYSET = Keyset.generate()


def converse(answer: Callable[[Channel, Evidence], None], **changes: Any) -> tuple[Any, Evidence]:
    """``attest`` in a thread, ``answer`` for the broker; returns its result or its error."""
    ours, theirs = Channel.pair()
    outcome: list[Any] = []
    said = {
        "role": "train",
        "assurance": "A1",
        "measurement": DIGEST,
        "plan_digest": DIGEST,
        "nonce": NONCE,
        "probes": {"swap": "none"},
        "warnings": (),
    } | changes

    def inside() -> None:
        try:
            outcome.append(attest(Channel(theirs, "broker"), **said))
        except Exception as error:
            outcome.append(error)

    thread = threading.Thread(target=inside)
    thread.start()
    channel = Channel(ours, "enclave")
    record = channel.recv_record(RECORDS)
    assert isinstance(record, frames.EvidenceFrame)
    evidence = decode_evidence(record.evidence)
    answer(channel, evidence)
    thread.join(10)
    ours.close()
    theirs.close()
    return outcome[0], evidence


def release(channel: Channel, evidence: Evidence, **other: Any) -> None:
    key = other.get("key", base64.b64decode(evidence.hpke_key))
    digest = other.get("digest", evidence_digest(evidence))
    channel.send_record(frames.Keys(sealed=seal_keys({"train": KEYSET}, key, digest)))


def test_keys_arrive():
    attested, evidence = converse(release)
    assert attested.keysets["train"].key == KEYSET.key
    signature = attested.signing_key.sign(b"manifest")
    raw = base64.b64decode(evidence.signing_key.removeprefix("ed25519:"))
    Ed25519PublicKey.from_public_bytes(raw).verify(signature, b"manifest")


def test_evidence_says_what_it_was_given():
    _, evidence = converse(release, role="view", nonce="m" * 30, warnings=("swap",))
    assert (evidence.role, evidence.nonce, evidence.warnings) == ("view", "m" * 30, ("swap",))
    assert (evidence.plan_digest, evidence.measurement) == (DIGEST, DIGEST)
    assert evidence.probes == {"swap": "none"}


def test_keys_are_fresh_each_time():
    first, second = (converse(release)[1] for _ in range(2))
    assert first.hpke_key != second.hpke_key
    assert first.signing_key != second.signing_key


def test_keys_for_another_enclave_do_not_open():
    other = public_bytes(new_private_key())
    outcome, _ = converse(lambda channel, evidence: release(channel, evidence, key=other))
    assert isinstance(outcome, ReleaseRefused)


def test_keys_for_other_evidence_do_not_open():
    digest = Sha256("sha256:" + "b" * 64)
    outcome, _ = converse(lambda channel, evidence: release(channel, evidence, digest=digest))
    assert isinstance(outcome, ReleaseRefused)


def test_nothing_but_keys_is_taken():
    outcome, _ = converse(
        lambda channel, _: channel.send_record(frames.Train(from_step=0, to_step=1))
    )
    assert isinstance(outcome, ChannelViolation)
    assert outcome.actual == "Train"


def test_no_keys_come():
    outcome, _ = converse(lambda channel, _: channel.close())
    assert isinstance(outcome, ChannelBroken)


def test_subjects_differ_in_everything_they_name():
    found = {
        seal_subject("a", "vault://k"),
        seal_subject("b", "vault://k"),
        seal_subject("a", "vault://l"),
        view_subject("a"),
        view_subject("b"),
        export_subject("a"),
        digest_of({"dataset": "a", "kms": "vault://k"}),
    }
    assert len(found) == 7
    assert seal_subject("a", "vault://k") == seal_subject("a", "vault://k")


def test_primitives_warm_up():
    warm_up_primitives()
