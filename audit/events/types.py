"""The registry of event types: what each event says, and the OCSF activity that it is.

A type is added by writing its class, naming it in ``EventData`` and giving it a row in ``TYPES``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import msgspec

from strongroom.audit.events.fields import (
    Bucket,
    Bytes,
    Code,
    Count,
    Digest,
    Metric,
    Name,
    Number,
    Prefix,
    PublicKey,
    Role,
    RunId,
    Seconds,
    Time,
    Uri,
)

Assurance = Literal["A0", "A1", "A2", "A3"]


class _Data(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="type"):
    pass


class _Part(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    pass


class DatasetRef(_Part, frozen=True):
    """A dataset that a plan names: its address and its signed manifest's digest."""

    name: Name
    uri: Uri
    manifest: Digest
    shards: Count
    records: Count


class Denial(_Part, frozen=True):
    """A policy rule that refused a plan, and the control that it stands for."""

    rule: Name
    control: Name


class ReleasedKey(_Part, frozen=True):
    """A keyset handed to an enclave, by its commitment; never the key."""

    name: Name
    key_id: Count
    kms: Uri
    commitment: Digest
    keyset: Digest
    """Of the wrapped keyset as manifest or keys.json holds it."""


class WrittenObject(_Part, frozen=True):
    """A sealed object as it lies in the bucket."""

    name: Name
    sha256: Digest
    size_bytes: Bytes


class RunAdmitted(_Data, frozen=True, tag="run.admitted"):
    """The policy admitted the plan; from here on the run is bound to this digest."""

    plan: Digest
    policy: Digest
    rules_passed: Count
    waivers: Count
    base_model: Digest
    evaluator: Digest
    datasets: tuple[DatasetRef, ...]
    outputs: Uri


class RunDenied(_Data, frozen=True, tag="run.denied"):
    """The policy refused the plan; nothing was opened and no key was asked for."""

    plan: Digest
    policy: Digest
    denials: tuple[Denial, ...]


class RunResumed(_Data, frozen=True, tag="run.resumed"):
    """A run that was interrupted went on from its last sealed checkpoint (step 0: from none)."""

    plan: Digest
    step: Count


class LeaseIssued(_Data, frozen=True, tag="lease.issued"):
    """Short-lived bucket credentials were issued, or renewed under the same ``lease``, and what
    they allow; there is no delete."""

    lease: Name
    purpose: Code
    role: Role
    bucket: Bucket
    read: tuple[Prefix, ...]
    create: tuple[Prefix, ...]
    ttl_s: Count
    expires_at: Time


class EnclaveStarted(_Data, frozen=True, tag="enclave.started"):
    """An enclave locked itself down, probed each layer from inside, and gave its evidence."""

    measurement: Digest
    assurance: Assurance
    evidence: Digest
    signing_key: PublicKey
    probes: dict[Code, Code]


class KeyReleased(_Data, frozen=True, tag="key.released"):
    """The releaser checked an enclave's evidence and sealed keysets to that enclave alone."""

    plan: Digest
    evidence: Digest
    measurement: Digest
    assurance: Assurance
    keys: tuple[ReleasedKey, ...]


class KeyDenied(_Data, frozen=True, tag="key.denied"):
    """The releaser refused an enclave; the codes say which checks of the evidence failed."""

    plan: Digest
    evidence: Digest
    reasons: tuple[Code, ...]


class ShardOpened(_Data, frozen=True, tag="shard.opened"):
    """A shard was authenticated to its last segment inside the enclave."""

    dataset: Name
    shard: Count
    sha256: Digest
    records: Count
    plaintext_bytes: Bytes


class RecordRejected(_Data, frozen=True, tag="record.rejected"):
    """A record failed its check, by position and code; its content is not told."""

    dataset: Name
    shard: Count
    line: Count
    code: Code


class TrainingStep(_Data, frozen=True, tag="training.step"):
    """A training step ended with these values of the metrics that the plan declares."""

    step: Count
    values: dict[Metric, Number]


class TrainingAlarm(_Data, frozen=True, tag="training.alarm"):
    """The reported numbers look wrong since this step; ``trainer.course`` says how each alarm is
    judged."""

    step: Count
    alarm: Literal["no_signal", "reward_fell", "cut_off"]


class TrainingFinished(_Data, frozen=True, tag="training.finished"):
    """Training ended after ``step`` steps, for a reason; the checkpoint after step ``chosen`` is
    the run's result."""

    step: Count
    reason: Literal["steps", "early_stopping", "time", "alarm"]
    chosen: Count


class CheckpointWritten(_Data, frozen=True, tag="checkpoint.written"):
    """A sealed checkpoint was written; the adapter's digest is that of its plaintext."""

    step: Count
    uri: Uri
    objects: tuple[WrittenObject, ...]
    adapter: Digest
    manifest: Digest


class RolloutsOpened(_Data, frozen=True, tag="rollouts.opened"):
    """A key holder asked for sealed sample rollouts; logged before the key is asked for."""

    uri: Uri
    sha256: Digest


class AdapterExported(_Data, frozen=True, tag="adapter.exported"):
    """A key holder asked for the adapter in plain, alone or merged into the base model; logged
    before the key is asked for."""

    step: Count
    adapter: Digest
    form: Literal["adapter", "merged"]


class EvaluationFinished(_Data, frozen=True, tag="evaluation.finished"):
    """The model was scored on the held-out records: without its adapter, with a checkpoint's while
    training went on, or with the chosen one's."""

    phase: Literal["before", "during", "after"]
    step: Count
    records: Count
    values: dict[Metric, Number]


class EvaluatorTested(_Data, frozen=True, tag="evaluator.tested"):
    """The evaluator was tried on completions of the base model; nothing was trained or written.

    ``failures`` are completions without a score; ``faults`` are the failed calls that were told
    one by one, by code."""

    plan: Digest
    evaluator: Digest
    rows: Count
    completions: Count
    failures: Count
    faults: dict[Code, Count]
    values: dict[Metric, Number]


class RunPublished(_Data, frozen=True, tag="run.published"):
    """The chosen adapter and its manifest stand in the customer's bucket."""

    uri: Uri
    manifest: Digest
    adapter: Digest
    objects: tuple[WrittenObject, ...]


class RunCompleted(_Data, frozen=True, tag="run.completed"):
    """The run ended and everything it had to leave is in the bucket."""

    steps: Count
    seconds: Seconds
    adapter: Digest
    manifest: Digest


class RunFailed(_Data, frozen=True, tag="run.failed"):
    """The run ended with an error, by code and stage."""

    code: Code
    stage: Code
    step: Count


class RunReplayed(_Data, frozen=True, tag="run.replayed"):
    """A finished run was done again from its plan; ``outcome`` says how its objects came
    out. The replay's own events stand under the id that this event has."""

    original: RunId
    plan: Digest
    step: Count
    outcome: Literal["same", "different"]


class RunCancelled(_Data, frozen=True, tag="run.cancelled"):
    """The owner stopped the run after this step; it may be resumed."""

    step: Count


EventData = (
    RunAdmitted
    | RunDenied
    | RunResumed
    | LeaseIssued
    | EnclaveStarted
    | KeyReleased
    | KeyDenied
    | ShardOpened
    | RecordRejected
    | TrainingStep
    | TrainingAlarm
    | TrainingFinished
    | CheckpointWritten
    | RolloutsOpened
    | AdapterExported
    | EvaluationFinished
    | EvaluatorTested
    | RunPublished
    | RunCompleted
    | RunFailed
    | RunCancelled
    | RunReplayed
)


@dataclass(frozen=True)
class Ocsf:
    """How an event type is said in OCSF: class, activity, severity and status."""

    class_uid: int
    activity_id: int
    activity_name: str
    severity_id: int = 1
    status_id: int = 1

    @property
    def class_name(self) -> str:
        """The class's caption."""
        return {
            2003: "Compliance Finding",
            6002: "Application Lifecycle",
            6003: "API Activity",
            6005: "Datastore Activity",
        }[self.class_uid]


@dataclass(frozen=True)
class EventType:
    """A registered event type: its data class and its OCSF shape."""

    data: type[EventData]
    ocsf: Ocsf


_HIGH, _MEDIUM, _FAILURE = 4, 3, 2

_SHAPES: dict[type[EventData], Ocsf] = {
    RunAdmitted: Ocsf(2003, 1, "Create"),
    RunDenied: Ocsf(2003, 1, "Create", _HIGH, _FAILURE),
    RunResumed: Ocsf(6002, 5, "Restart"),
    LeaseIssued: Ocsf(6003, 1, "Create"),
    EnclaveStarted: Ocsf(6002, 3, "Start"),
    KeyReleased: Ocsf(6003, 2, "Read"),
    KeyDenied: Ocsf(6003, 2, "Read", _HIGH, _FAILURE),
    ShardOpened: Ocsf(6005, 1, "Read"),
    RecordRejected: Ocsf(6005, 1, "Read", _MEDIUM, _FAILURE),
    TrainingStep: Ocsf(6002, 8, "Update"),
    TrainingAlarm: Ocsf(6002, 8, "Update", _MEDIUM),
    TrainingFinished: Ocsf(6002, 8, "Update"),
    CheckpointWritten: Ocsf(6005, 6, "Create"),
    RolloutsOpened: Ocsf(6005, 1, "Read"),
    AdapterExported: Ocsf(6005, 1, "Read"),
    EvaluationFinished: Ocsf(6002, 8, "Update"),
    EvaluatorTested: Ocsf(6002, 8, "Update"),
    RunPublished: Ocsf(6005, 6, "Create"),
    RunCompleted: Ocsf(6002, 4, "Stop"),
    RunFailed: Ocsf(6002, 4, "Stop", _MEDIUM, _FAILURE),
    RunCancelled: Ocsf(6002, 4, "Stop"),
    RunReplayed: Ocsf(2003, 1, "Create"),
}

TYPES: dict[str, EventType] = {
    str(data.__struct_config__.tag): EventType(data, shape) for data, shape in _SHAPES.items()
}
