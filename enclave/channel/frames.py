"""What may cross the channel between broker and enclave: the whole vocabulary, and nothing else.

Everything that leaves an enclave is one of the ``Outgoing`` records below (numbers, digests, ids
and enumerated codes: no free text) or sealed bytes that follow a ``Put``. ``enclave.channel.gate``
checks each record on the broker's side; ``enclave.channel.capacity`` adds
up what those records could carry at most.

Commands go the other way. They may hold anything, since the enclave has nowhere to send it.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from strongroom.crypto.digests import Sha256

Dataset = Literal["train", "held_out"]
Phase = Literal["before", "during", "after"]
Activity = Literal["evaluate", "trial"]
Artifact = Literal["adapter", "state", "rollouts", "shard"]
FetchKind = Literal["model", "evaluator", "evaluator_manifest", "manifest", "shard", "artifact"]


class _Frame(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="frame", kw_only=True
):
    pass


# ---- commands: broker -> enclave ---------------------------------------------------------------


class Start(_Frame, frozen=True, tag="start"):
    """First frame to a ``train`` enclave: the plan it will attest to, and the releaser's nonce."""

    plan: bytes
    nonce: str


class Keys(_Frame, frozen=True, tag="keys"):
    """The HPKE-sealed keysets from the releaser."""

    sealed: bytes


class Verify(_Frame, frozen=True, tag="verify"):
    """Authenticate every segment of one shard and check every record."""

    dataset: Dataset
    shard: int


class Evaluate(_Frame, frozen=True, tag="evaluate"):
    """Score the held-out rows greedily, with the adapter of the checkpoint after ``step``;
    ``before`` switches the adapter off and has step 0."""

    phase: Phase
    step: int


class Train(_Frame, frozen=True, tag="train"):
    """Train from the checkpoint after ``from_step`` (0: from the beginning) to ``to_step``."""

    from_step: int
    to_step: int


class TestEvaluator(_Frame, frozen=True, tag="test_evaluator"):
    """Score ``samples`` completions of the base model for each of the run's first ``rows`` rows."""

    rows: int
    samples: int


class Stop(_Frame, frozen=True, tag="stop"):
    """Exit at once; plaintext dies with the process."""


class SealShards(_Frame, frozen=True, tag="seal_shards"):
    """To a ``seal`` enclave: turn the rows of ``sources`` into sealed shards."""

    dataset: str
    records_per_shard: int


class SealEvaluator(_Frame, frozen=True, tag="seal_evaluator"):
    """To a ``seal`` enclave: turn its one source file into a sealed evaluator."""

    name: str


class View(_Frame, frozen=True, tag="view"):
    """To a ``view`` enclave: open one sealed object and print it to the inherited terminal."""

    run: str
    step: int
    commitment: str
    as_json: bool = False
    in_ascii: bool = False
    """Whether that terminal has no other characters."""


class Export(_Frame, frozen=True, tag="export"):
    """To an ``export`` enclave: open the sealed adapter that follows, whose plaintext has this
    digest, and write it, or the base model's files that follow it merged with it."""

    run: str
    step: int
    commitment: str
    adapter: str


Command = (
    Keys
    | Verify
    | Evaluate
    | Train
    | TestEvaluator
    | Stop
    | Start
    | SealShards
    | SealEvaluator
    | View
    | Export
)


# ---- records: enclave -> broker ----------------------------------------------------------------


class EvidenceFrame(_Frame, frozen=True, tag="evidence"):
    """What the enclave says of itself; the fields are those of ``enclave.evidence.Evidence``."""

    evidence: bytes


class Fetch(_Frame, frozen=True, tag="fetch"):
    """Ask for one whole object. The broker answers with its bytes, in order, then an end."""

    kind: FetchKind
    dataset: Dataset = "train"
    index: int = 0
    artifact: Artifact = "adapter"


class Put(_Frame, frozen=True, tag="put"):
    """Sealed bytes follow: ``size_bytes`` of them (or, for 0, until the end frame)."""

    artifact: Artifact
    index: int
    size_bytes: int


class ShardVerified(_Frame, frozen=True, tag="shard_verified"):
    """One shard's result: how many records were good, how many were not."""

    dataset: Dataset
    shard: int
    records: int
    bad_records: int
    plaintext_bytes: int


class ShardSealed(_Frame, frozen=True, tag="shard_sealed"):
    """One sealed shard's manifest entry, as far as only the sealer knows it."""

    shard: int
    header: str
    records: int
    plaintext_bytes: int


class BadRecord(_Frame, frozen=True, tag="bad_record"):
    """One record that cannot be trained on: where (``line`` counts from 1) and which fault."""

    dataset: Dataset
    shard: int
    line: int
    fault: str


class Progress(_Frame, frozen=True, tag="progress"):
    """``done`` of ``total`` units of an activity."""

    activity: Activity
    done: int
    total: int


class StepDone(_Frame, frozen=True, tag="step_done"):
    """One training step's numbers, by declared name."""

    step: int
    values: dict[str, float]


class SealedEntry(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One object of a checkpoint."""

    size_bytes: int
    sha256: str
    plaintext_sha256: str
    header: str


class CheckpointDone(_Frame, frozen=True, tag="checkpoint_done"):
    """A checkpoint's objects are put. ``signature`` covers its manifest, which the broker rebuilds
    from these fields and the plan, so that no byte of it is the enclave's free choice."""

    step: int
    adapter: SealedEntry
    state: SealedEntry
    rollouts: SealedEntry
    signature: str


class Evaluated(_Frame, frozen=True, tag="evaluated"):
    """Held-out means, by declared name."""

    phase: Phase
    rows: int
    values: dict[str, float]


class EvaluatorFault(_Frame, frozen=True, tag="evaluator_fault"):
    """In a trial, one call of the evaluator failed.

    ``row`` counts from 0 within the training data; ``sample`` among the row's completions, -1 when
    the call was for all of them; ``line`` from 1, -1 when unknown.
    """

    row: int
    sample: int
    code: str
    detail: str
    line: int


class EvaluatorTested(_Frame, frozen=True, tag="evaluator_tested"):
    """A trial's sums: completions with and without a score, and the scores' distribution.

    ``histogram`` counts the scores in equal parts of the way from ``score_min`` to ``score_max``.
    """

    rows: int
    completions: int
    failures: int
    histogram: tuple[int, ...]
    values: dict[str, float]


class Failure(_Frame, frozen=True, tag="failure"):
    """The command failed. ``code`` is a Strongroom error code; numbers say where.

    ``row`` counts from 0 within the dataset, ``line`` from 1 in the evaluator or the shard;
    -1 means that the number does not apply. ``detail`` is an enumerated word of that error.
    """

    code: str
    detail: str = ""
    dataset: Dataset = "train"
    shard: int = -1
    segment: int = -1
    row: int = -1
    line: int = -1
    column: int = -1
    step: int = -1


class Done(_Frame, frozen=True, tag="done"):
    """The command is finished."""


Outgoing = (
    EvidenceFrame
    | Fetch
    | Put
    | ShardVerified
    | ShardSealed
    | BadRecord
    | Progress
    | StepDone
    | CheckpointDone
    | Evaluated
    | EvaluatorFault
    | EvaluatorTested
    | Failure
    | Done
)
RECORDS: msgspec.json.Decoder[Outgoing] = msgspec.json.Decoder(Outgoing)


# ---- reports: what the broker passes on to the controller ---------------------------------------


class CheckpointWritten(_Frame, frozen=True, tag="checkpoint_written"):
    """The broker has written a checkpoint's objects and, last, its manifest with this digest."""

    step: int
    adapter: SealedEntry
    state: SealedEntry
    rollouts: SealedEntry
    manifest: Sha256


Report = (
    ShardVerified
    | BadRecord
    | Progress
    | StepDone
    | CheckpointWritten
    | Evaluated
    | EvaluatorFault
    | EvaluatorTested
)
