"""The rules of verification alone: bytes, digests and errors go in, checks come out.

``tests/e2e`` holds them against whole runs and changes each stored object in turn; here is what
those cannot come to: objects that cannot be read, and signed ones that lack something.
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from strongroom.audit.events import types as events
from strongroom.audit.events.entries import new_event
from strongroom.audit.log.verify import COMPLETE, Check
from strongroom.connectors.buckets.errors import AccessDenied, ObjectMissing
from strongroom.crypto.digests import sha256
from strongroom.crypto.dsse import key_ref, sign_envelope
from strongroom.crypto.manifest import (
    CHECKPOINT_TYPE,
    CheckpointManifest,
    SealedObject,
    encode,
    encode_header,
)
from strongroom.crypto.segments import ciphertext_bytes
from strongroom.enclave.plan.document import Plan
from strongroom.enclave.plan.objects import RunLayout
from strongroom.pipeline.inspection.rules import Pin, Rules
from strongroom.pipeline.planning.plan import build_plan
from strongroom.pipeline.runfile.load import LoadedRun
from support import sample

RUN = "feedback-1"
AUDIT = "s3://acme-audit/strongroom/"
KEY = Ed25519PrivateKey.generate()
SIGNER = key_ref(KEY.public_key().public_bytes_raw())
EVIDENCE, STEP = sha256(b"evidence"), 20
PLAN = "Plan is the admitted one"
MANIFESTS = "Checkpoint manifests and their signatures"


@pytest.fixture
def plan(load_example: Callable[..., LoadedRun], example: str) -> Plan:
    return build_plan(load_example(example).spec, sample.facts(), RUN)


def sealed(name: str) -> SealedObject:
    return SealedObject(
        object=f"{name}.sealed",
        size_bytes=ciphertext_bytes(9),
        sha256=sha256(name.encode()),
        plaintext_sha256=sha256(name.encode() * 2),
        header=encode_header(bytes([40, len(name)]) + bytes(38)),
    )


def checkpoint(plan: Plan, *names: str) -> bytes:
    """A signed manifest of a checkpoint with these objects."""
    manifest = CheckpointManifest(
        run=RUN,
        step=STEP,
        plan_digest=plan.digest,
        objects={name: sealed(name) for name in names},
        cursor={},
    )
    return sign_envelope(CHECKPOINT_TYPE, encode(manifest), SIGNER, KEY.sign)


def written(manifest: bytes) -> events.CheckpointWritten:
    entry = sealed("adapter")
    named = events.WrittenObject(
        name=entry.object, sha256=entry.sha256, size_bytes=entry.size_bytes
    )
    return events.CheckpointWritten(
        step=STEP,
        uri="s3://acme-data/runs/",
        objects=(named,),
        adapter=entry.plaintext_sha256,
        manifest=sha256(manifest),
    )


def rules(plan: Plan, *more: events.EventData) -> Rules:
    """Rules that have been given a log in which keys were released, and then ``more``."""
    admitted = events.RunAdmitted(
        plan=plan.digest,
        policy=sha256(b"policy"),
        rules_passed=1,
        waivers=0,
        base_model=plan.model.digest,
        evaluator=plan.evaluator.sha256,
        datasets=(),
        outputs=plan.outputs,
    )
    started = events.EnclaveStarted(
        measurement=sha256(b"code"),
        assurance="A1",
        evidence=EVIDENCE,
        signing_key=SIGNER,
        probes={},
    )
    released = events.KeyReleased(
        plan=plan.digest,
        evidence=EVIDENCE,
        measurement=sha256(b"code"),
        assurance="A1",
        keys=(),
    )
    found = Rules(RUN, RunLayout(plan.outputs, RUN), AUDIT)
    logged = [new_event(RUN, "controller", data) for data in (admitted, started, released, *more)]
    found.take_log([Check("checkpoint", True, "checkpoint")], logged)
    return found


def failures(found: Rules) -> dict[str, str]:
    return {check.name: check.detail for check in found.checks if not check.ok}


def test_a_plan_that_cannot_be_read_is_named(plan: Plan) -> None:
    found = rules(plan)
    assert found.take_plan(AccessDenied(place="plan.json")) is None
    assert failures(found)[PLAN].startswith(AccessDenied.code)
    assert rules(plan).take_plan(plan.to_json()) == plan


def test_a_plan_that_was_never_admitted_is_refused(plan: Plan) -> None:
    other = msgspec.structs.replace(plan, capacity_bits=1)
    found = rules(plan)
    assert found.take_plan(other.to_json()) is None
    assert failures(found)[PLAN] == f"expected {plan.digest}"


def test_a_pin_says_what_was_found(plan: Plan) -> None:
    found = rules(plan)
    for answer in (sha256(b"a"), sha256(b"b"), ObjectMissing(place="x")):
        found.take_digest(Pin("Shards", "s3://x", sha256(b"a")), answer)
    found.take_digest(Pin("Shards", "s3://x", "", optional=True), ObjectMissing(place="x"))
    shards = [(check.ok, check.detail) for check in found.checks if check.name == "Shards"]
    assert shards == [
        (True, ""),
        (False, f"expected {sha256(b'a')}, found {sha256(b'b')}"),
        (False, f"{ObjectMissing.code}: {ObjectMissing.title}"),
    ]


def test_a_checkpoint_s_objects_are_pinned_by_its_manifest(plan: Plan) -> None:
    manifest = checkpoint(plan, "adapter")
    found = rules(plan)
    (pin,) = found.take_checkpoint(plan, written(manifest), manifest)
    assert pin.sha256 == sealed("adapter").sha256
    assert set(failures(found)) == {COMPLETE}


def test_a_signed_checkpoint_without_an_adapter_is_named(plan: Plan) -> None:
    manifest = checkpoint(plan, "state")
    found = rules(plan)
    assert found.take_checkpoint(plan, written(manifest), manifest) == []
    assert failures(found)[MANIFESTS].startswith("expected adapter sha256:")


def test_a_log_that_contradicts_itself_is_named(plan: Plan) -> None:
    """It names a checkpoint that was never written, and an evaluation that has no score."""
    scoreless = events.EvaluationFinished(phase="during", step=STEP, records=1, values={})
    ended = events.TrainingFinished(step=STEP, reason="steps", chosen=STEP)
    found = rules(plan, scoreless, ended)
    found.take_result(plan, b"{}")
    assert failures(found)["Result follows from the log"].startswith("expected sha256:")
    assert "Chosen checkpoint follows from plan and log" in failures(found)


def test_training_settings_of_another_version_are_named(plan: Plan) -> None:
    spec = msgspec.json.decode(msgspec.json.encode(plan.spec))
    spec["spec"]["training"]["method"]["type"] = "of_tomorrow"
    other = msgspec.structs.replace(plan, spec=spec)
    ended = events.TrainingFinished(step=STEP, reason="steps", chosen=STEP)
    found = rules(other, written(b"manifest"), ended)
    assert found.take_plan(other.to_json()) == other
    found.take_result(other, b"{}")
    found.take_names(["keys.json", "checkpoints/000020/adapter.sealed"])
    assert failures(found)["Chosen checkpoint follows from plan and log"] == (
        "expected training settings of this version"
    )
