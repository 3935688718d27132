"""Each rule of the gate, with a record that passes and one that does not."""

from __future__ import annotations

import base64
import math
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from strongroom.enclave.channel import capacity, frames
from strongroom.enclave.channel.errors import ChannelViolation
from strongroom.enclave.channel.gate import Gate
from strongroom.enclave.channel.outgoing_words import DETAILS
from strongroom.errors import Exit

DIGEST = "sha256:" + "a" * 64
HEADER = base64.b64encode(bytes([40]) + bytes(39)).decode()
ENTRY = frames.SealedEntry(size_bytes=100, sha256=DIGEST, plaintext_sha256=DIGEST, header=HEADER)
LIMITS = capacity.Limits(
    steps=3,
    checkpoints=2,
    evaluations=0,
    shards=4,
    records=50,
    fetches=5,
    step_metrics=("loss", "reward_mean"),
    evaluation_metrics=("score_mean",),
    output_bytes=1000,
    memory_bytes=1 << 30,
)
GOOD: dict[str, msgspec.Struct] = {
    "step": frames.StepDone(step=1, values={"loss": 0.5}),
    "evaluated": frames.Evaluated(phase="before", rows=50, values={"score_mean": -1.5}),
    "model": frames.Fetch(kind="model", index=2),
    "evaluator": frames.Fetch(kind="evaluator"),
    "manifest": frames.Fetch(kind="manifest", dataset="held_out"),
    "shard": frames.Fetch(kind="shard", dataset="held_out", index=3),
    "artifact": frames.Fetch(kind="artifact", index=3, artifact="state"),
    "put": frames.Put(artifact="adapter", index=1, size_bytes=1000),
    "checkpoint": frames.CheckpointDone(
        step=3, adapter=ENTRY, state=ENTRY, rollouts=ENTRY, signature="A" * 86 + "=="
    ),
    "verified": frames.ShardVerified(
        dataset="train", shard=3, records=50, bad_records=0, plaintext_bytes=9
    ),
    "bad": frames.BadRecord(dataset="train", shard=3, line=50, fault="not_json"),
    "progress": frames.Progress(activity="evaluate", done=50, total=50),
    "fault": frames.EvaluatorFault(
        row=49, sample=-1, code="SR-EVAL-003", detail="ValueError", line=7
    ),
    "tested": frames.EvaluatorTested(
        rows=16,
        completions=4096,
        failures=0,
        histogram=(0,) * 9 + (4096,),
        values={"score_mean": 0.5, "score_std": 0.1},
    ),
    "failure": frames.Failure(code="SR-EVAL-003", detail="ValueError", row=17, line=4, column=2),
    "bare failure": frames.Failure(code="SR-TRAIN-001"),
    "evidence": frames.EvidenceFrame(evidence=bytes(16 << 10)),
    "done": frames.Done(),
}


def gate(**limits: Any) -> Gate:
    return Gate(msgspec.structs.replace(LIMITS, **limits), DETAILS)


def changed(name: str, **changes: Any) -> Any:
    return msgspec.structs.replace(GOOD[name], **changes)


def entry(**changes: Any) -> frames.SealedEntry:
    return msgspec.structs.replace(ENTRY, **changes)


def refuse(guard: Gate, record: Any) -> ChannelViolation:
    with pytest.raises(ChannelViolation) as caught:
        guard.admit(record)
    assert caught.value.exit_code == Exit.INTEGRITY
    return caught.value


@pytest.mark.parametrize("name", GOOD)
def test_an_honest_record_passes(name):
    gate().admit(GOOD[name])


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("step", {"step": 0}),
        ("step", {"step": 4}),
        ("step", {"step": -1}),
        ("step", {"values": {"secret": 0.5}}),
        ("step", {"values": {"reward_mean": 1.0, "loss": 1.0}}),
        ("step", {"values": {"loss": math.nan}}),
        ("step", {"values": {"loss": math.inf}}),
        ("step", {"values": {"loss": 0.12345}}),
        ("step", {"values": {"loss": 1e10}}),
        ("step", {"values": {"loss": 1e-10}}),
        ("evaluated", {"rows": 0}),
        ("evaluated", {"rows": 51}),
        ("evaluated", {"values": {"loss": 0.5}}),
        ("evaluated", {"values": {"score_mean": 1.00001}}),
        ("model", {"index": -1}),
        ("model", {"index": 5}),
        ("shard", {"index": 4}),
        ("artifact", {"index": 4}),
        ("model", {"dataset": "held_out"}),
        ("model", {"artifact": "state"}),
        ("evaluator", {"index": 1}),
        ("evaluator", {"dataset": "held_out"}),
        ("evaluator", {"artifact": "rollouts"}),
        ("manifest", {"index": 1}),
        ("shard", {"artifact": "state"}),
        ("artifact", {"dataset": "held_out"}),
        ("fault", {"row": -1}),
        ("fault", {"row": 50}),
        ("fault", {"sample": -2}),
        ("fault", {"sample": 4096}),
        ("fault", {"code": "SR-TRAIN-001"}),
        ("fault", {"code": "row 17 says hello"}),
        ("fault", {"detail": "hello"}),
        ("fault", {"line": 1 << 21}),
        ("fault", {"line": -2}),
        ("tested", {"rows": 51}),
        ("tested", {"completions": 4097}),
        ("tested", {"failures": -1}),
        ("tested", {"histogram": (0,) * 9}),
        ("tested", {"histogram": (4097, *(0,) * 9)}),
        ("tested", {"histogram": (-1, *(0,) * 9)}),
        ("tested", {"values": {"loss": 0.5}}),
        ("tested", {"values": {"score_mean": 0.12345}}),
        ("put", {"artifact": "shard"}),
        ("put", {"index": 0}),
        ("put", {"index": 4}),
        ("put", {"size_bytes": 0}),
        ("put", {"size_bytes": -1}),
        ("put", {"size_bytes": 1001}),
        ("checkpoint", {"step": 0}),
        ("checkpoint", {"step": 4}),
        ("checkpoint", {"signature": "row 17 says hello"}),
        ("checkpoint", {"signature": "A" * 86 + "==\n"}),
        ("checkpoint", {"adapter": entry(header="A" * 57)}),
        ("checkpoint", {"state": entry(sha256="row 17")}),
        ("checkpoint", {"rollouts": entry(plaintext_sha256=DIGEST.upper())}),
        ("verified", {"shard": 4}),
        ("verified", {"shard": -1}),
        ("verified", {"records": 51}),
        ("verified", {"records": -1}),
        ("verified", {"bad_records": 51}),
        ("verified", {"plaintext_bytes": -1}),
        ("verified", {"plaintext_bytes": 1 << 48}),
        ("bad", {"line": 0}),
        ("bad", {"line": 51}),
        ("bad", {"shard": 4}),
        ("bad", {"shard": -1}),
        ("bad", {"fault": "row 17 says hello"}),
        ("bad", {"fault": "hello"}),
        ("bad", {"fault": ""}),
        ("progress", {"done": 51}),
        ("progress", {"done": -1}),
        ("progress", {"done": 51, "total": 51}),
        ("failure", {"code": "SR-EVAL-999"}),
        ("failure", {"code": "SR-MANY"}),
        ("failure", {"code": "row 17 says hello"}),
        ("failure", {"detail": "MyOwnError"}),
        ("failure", {"detail": "ValueError: row 17"}),
        ("failure", {"shard": 1 << 32}),
        ("failure", {"segment": -2}),
        ("failure", {"row": 10**400}),
        ("failure", {"line": 1 << 32}),
        ("failure", {"column": -(10**400)}),
        ("failure", {"step": 1 << 64}),
        ("evidence", {"evidence": bytes((16 << 10) + 1)}),
    ],
)
def test_a_dishonest_record_does_not(name, changes):
    guard = gate()
    error = refuse(guard, changed(name, **changes))
    assert "hello" not in str(error)
    assert "row 17" not in str(error)


@pytest.mark.parametrize("step", [1, 2])
def test_steps_are_told_once_and_in_order(step):
    guard = gate()
    guard.admit(changed("step", step=2))
    refuse(guard, changed("step", step=step))
    gate().admit(changed("step", step=step))


@pytest.mark.parametrize("name", ["put", "checkpoint", "verified"])
def test_each_object_is_told_once(name):
    guard = gate(output_bytes=1 << 20)
    guard.admit(GOOD[name])
    refuse(guard, GOOD[name])


def test_each_phase_is_told_once():
    guard = gate()
    guard.admit(changed("evaluated", phase="before"))
    guard.admit(changed("evaluated", phase="after"))
    refuse(guard, changed("evaluated", phase="after"))


@pytest.mark.parametrize(
    ("name", "limit"),
    [
        ("evaluator", 5),
        ("bad", capacity.BAD_RECORD_LIMIT),
        ("progress", capacity.PROGRESS_LIMIT),
        ("fault", capacity.TRIAL_FAULT_LIMIT),
        ("tested", 1),
        ("failure", 1),
        ("evidence", 1),
        ("done", 9),
    ],
)
def test_a_record_comes_as_often_as_the_plan_allows(name, limit):
    guard = gate()
    for _ in range(limit):
        guard.admit(GOOD[name])
    refuse(guard, GOOD[name])


def test_there_are_no_more_evaluations_than_planned():
    during = changed("evaluated", phase="during")
    refuse(gate(), during)
    guard = gate(evaluations=2)
    for _ in range(2):
        guard.admit(during)
    refuse(guard, during)


def test_there_are_no_more_checkpoints_than_planned():
    guard = gate()
    guard.admit(changed("checkpoint", step=1))
    guard.admit(changed("checkpoint", step=2))
    refuse(guard, changed("checkpoint", step=3))


def test_there_are_no_more_shards_than_planned():
    guard = gate()
    for shard in range(4):
        guard.admit(changed("verified", shard=shard))
    refuse(guard, changed("verified", dataset="held_out", shard=0))


def test_progress_is_counted_for_each_activity():
    guard = gate()
    for _ in range(capacity.PROGRESS_LIMIT):
        guard.admit(GOOD["progress"])
    guard.admit(changed("progress", activity="trial"))


def test_sealed_bytes_stay_within_the_budget():
    guard = gate()
    guard.admit(changed("put", index=1, size_bytes=600))
    guard.admit(changed("put", index=2, size_bytes=400))
    refuse(guard, changed("put", index=3, size_bytes=1))


def test_a_checkpoint_has_three_objects():
    guard = gate(checkpoints=1)
    for artifact in ("adapter", "state", "rollouts"):
        guard.admit(changed("put", artifact=artifact, size_bytes=1))
    refuse(guard, changed("put", index=2, size_bytes=1))


def test_a_sealers_record_is_none_of_a_run():
    sealed = frames.ShardSealed(shard=0, header=HEADER, records=1, plaintext_bytes=1)
    refuse(gate(), sealed)


@pytest.mark.parametrize(
    ("head", "size"),
    [(bytes([41]) + bytes(39), 100), (bytes([40]) + bytes(38), 100), (b"", 100)],
)
def test_objects_look_sealed(head, size):
    guard = gate()
    good = bytes([40]) + bytes(39)
    guard.admit_sealed(good, 56)
    with pytest.raises(ChannelViolation):
        guard.admit_sealed(good, 55)
    with pytest.raises(ChannelViolation):
        guard.admit_sealed(head, size)


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_what_was_rounded_passes(value):
    gate().admit(frames.StepDone(step=1, values={"loss": capacity.rounded(value)}))


@given(st.floats())
def test_what_was_not_rounded_does_not(value):
    record = frames.StepDone(step=1, values={"loss": value})
    if math.isfinite(value) and capacity.rounded(value) == value:
        gate().admit(record)
    else:
        refuse(gate(), record)
