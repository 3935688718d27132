"""The event types: what each event says, and which OCSF activity it is.

A type is added by writing its class and naming it in ``EventData``.
"""

from __future__ import annotations

from typing import ClassVar, Literal, get_args

import msgspec

from strongroom.audit.events.alarms import Alarm
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
from strongroom.audit.events.ocsf import (
    API,
    DATASTORE,
    FAILURE,
    FINDING,
    HIGH,
    LIFECYCLE,
    MEDIUM,
    Ocsf,
)

Assurance = Literal["A0", "A1", "A2", "A3"]


class _Data(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="type"):
    ocsf: ClassVar[Ocsf]


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

    ocsf = Ocsf(FINDING, 1, "Create")

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

    ocsf = Ocsf(FINDING, 1, "Create", HIGH, FAILURE)

    plan: Digest
    policy: Digest
    denials: tuple[Denial, ...]


class RunResumed(_Data, frozen=True, tag="run.resumed"):
    """A run that was interrupted went on from its last sealed checkpoint (step 0: from none)."""

    ocsf = Ocsf(LIFECYCLE, 5, "Restart")

    plan: Digest
    step: Count


class LeaseIssued(_Data, frozen=True, tag="lease.issued"):
    """Short-lived bucket credentials were issued, or renewed under the same ``lease``, and what
    they allow; there is no delete."""

    ocsf = Ocsf(API, 1, "Create")

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

    ocsf = Ocsf(LIFECYCLE, 3, "Start")

    measurement: Digest
    assurance: Assurance
    evidence: Digest
    signing_key: PublicKey
    probes: dict[Code, Code]


class KeyReleased(_Data, frozen=True, tag="key.released"):
    """The releaser checked an enclave's evidence and sealed keysets to that enclave alone."""

    ocsf = Ocsf(API, 2, "Read")

    plan: Digest
    evidence: Digest
    measurement: Digest
    assurance: Assurance
    keys: tuple[ReleasedKey, ...]


class KeyDenied(_Data, frozen=True, tag="key.denied"):
    """The releaser refused an enclave of this role its keys; the codes say why. ``subject`` is the
    digest of the plan, or of what stands in its place for a role that has none."""

    ocsf = Ocsf(API, 2, "Read", HIGH, FAILURE)

    role: Code
    subject: Digest
    evidence: Digest
    reasons: tuple[Code, ...]


class ReleaserStarted(_Data, frozen=True, tag="releaser.started"):
    """The releaser began to serve, with these settings, policy and approved code. ``memory`` says
    whether it remembers the log itself, or its owner had it take the log over."""

    ocsf = Ocsf(LIFECYCLE, 3, "Start")

    settings: Digest
    policy: Digest
    measurements: tuple[Digest, ...]
    signers: tuple[PublicKey, ...]
    min_assurance: Assurance
    memory: Literal["new", "kept", "adopted"]


class DatasetKeyReleased(_Data, frozen=True, tag="dataset.key.released"):
    """The releaser made a keyset for a dataset, or a sealed evaluator, and sealed it to one
    enclave, which encrypts under it."""

    ocsf = Ocsf(API, 1, "Create")

    dataset: Name
    evidence: Digest
    measurement: Digest
    assurance: Assurance
    key: ReleasedKey


class ManifestSigned(_Data, frozen=True, tag="manifest.signed"):
    """The releaser signed the manifest of a sealed dataset with the owner's key."""

    ocsf = Ocsf(API, 1, "Create")

    dataset: Name
    payload: Digest
    signer: PublicKey
    shards: Count
    records: Count


class ShardOpened(_Data, frozen=True, tag="shard.opened"):
    """A shard was authenticated to its last segment inside the enclave."""

    ocsf = Ocsf(DATASTORE, 1, "Read")

    dataset: Name
    shard: Count
    sha256: Digest
    records: Count
    plaintext_bytes: Bytes


class RecordRejected(_Data, frozen=True, tag="record.rejected"):
    """A record failed its check, by position and code; its content is not told."""

    ocsf = Ocsf(DATASTORE, 1, "Read", MEDIUM, FAILURE)

    dataset: Name
    shard: Count
    line: Count
    code: Code


class TrainingStep(_Data, frozen=True, tag="training.step"):
    """A training step ended with these values of the metrics that the plan declares."""

    ocsf = Ocsf(LIFECYCLE, 8, "Update")

    step: Count
    values: dict[Metric, Number]


class TrainingAlarm(_Data, frozen=True, tag="training.alarm"):
    """The reported numbers look wrong since this step; ``trainer.monitoring`` says how each alarm
    is judged."""

    ocsf = Ocsf(LIFECYCLE, 8, "Update", MEDIUM)

    step: Count
    alarm: Alarm


class TrainingFinished(_Data, frozen=True, tag="training.finished"):
    """Training ended after ``step`` steps, for a reason; the checkpoint after step ``chosen`` is
    the run's result."""

    ocsf = Ocsf(LIFECYCLE, 8, "Update")

    step: Count
    reason: Literal["steps", "early_stopping", "time", "alarm"]
    chosen: Count


class CheckpointWritten(_Data, frozen=True, tag="checkpoint.written"):
    """A sealed checkpoint was written; the adapter's digest is that of its plaintext."""

    ocsf = Ocsf(DATASTORE, 6, "Create")

    step: Count
    uri: Uri
    objects: tuple[WrittenObject, ...]
    adapter: Digest
    manifest: Digest


class RolloutsOpened(_Data, frozen=True, tag="rollouts.opened"):
    """A key holder asked for sealed sample rollouts; logged before the key leaves."""

    ocsf = Ocsf(DATASTORE, 1, "Read")

    uri: Uri
    sha256: Digest


class AdapterExported(_Data, frozen=True, tag="adapter.exported"):
    """A key holder asked for the adapter in plain, alone or merged into the base model; logged
    before the key leaves."""

    ocsf = Ocsf(DATASTORE, 1, "Read")

    step: Count
    adapter: Digest
    form: Literal["adapter", "merged"]


class EvaluationFinished(_Data, frozen=True, tag="evaluation.finished"):
    """The model was scored on the held-out records: without its adapter, with a checkpoint's while
    training went on, or with the chosen one's."""

    ocsf = Ocsf(LIFECYCLE, 8, "Update")

    phase: Literal["before", "during", "after"]
    step: Count
    records: Count
    values: dict[Metric, Number]


class EvaluatorTested(_Data, frozen=True, tag="evaluator.tested"):
    """The evaluator was tried on completions of the base model; nothing was trained or written.

    ``failures`` are completions without a score; ``faults`` are the failed calls that were told
    one by one, by code."""

    ocsf = Ocsf(LIFECYCLE, 8, "Update")

    plan: Digest
    evaluator: Digest
    rows: Count
    completions: Count
    failures: Count
    faults: dict[Code, Count]
    values: dict[Metric, Number]


class RunPublished(_Data, frozen=True, tag="run.published"):
    """The chosen adapter and its manifest stand in the customer's bucket."""

    ocsf = Ocsf(DATASTORE, 6, "Create")

    uri: Uri
    manifest: Digest
    adapter: Digest
    objects: tuple[WrittenObject, ...]


class RunCompleted(_Data, frozen=True, tag="run.completed"):
    """The run ended and everything it had to leave is in the bucket."""

    ocsf = Ocsf(LIFECYCLE, 4, "Stop")

    steps: Count
    seconds: Seconds
    adapter: Digest
    manifest: Digest


class RunFailed(_Data, frozen=True, tag="run.failed"):
    """The run ended with an error, by code and stage."""

    ocsf = Ocsf(LIFECYCLE, 4, "Stop", MEDIUM, FAILURE)

    code: Code
    stage: Code
    step: Count


class RunReplayed(_Data, frozen=True, tag="run.replayed"):
    """A finished run was done again from its plan; ``outcome`` says how its objects came
    out. The replay's own events stand under the id that this event has."""

    ocsf = Ocsf(FINDING, 1, "Create")

    original: RunId
    plan: Digest
    step: Count
    outcome: Literal["same", "different"]


class RunCancelled(_Data, frozen=True, tag="run.cancelled"):
    """The owner stopped the run after this step; it may be resumed."""

    ocsf = Ocsf(LIFECYCLE, 4, "Stop")

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
    | ReleaserStarted
    | DatasetKeyReleased
    | ManifestSigned
)
"""Every event type: the one table that a new one is named in."""

TYPES: dict[str, type[EventData]] = {
    str(kind.__struct_config__.tag): kind for kind in get_args(EventData)
}
