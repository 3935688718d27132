"""What may cross the channel between broker and enclave: the whole vocabulary, and nothing else.

Everything that leaves an enclave is one of the ``Outgoing`` records below (numbers, digests, ids
and enumerated codes: no free text) or sealed bytes that follow a ``Put``. ``enclave.channel.gate``
checks each record on the broker's side; ``capacity_bits`` adds up what those records could carry at
most.

Commands go the other way. They may hold anything, since the enclave has nowhere to send it.
"""

from __future__ import annotations

import math
from typing import Literal

import msgspec

from strongroom.crypto.digests import Sha256

Dataset = Literal["train", "held_out"]
Phase = Literal["before", "during", "after"]
Activity = Literal["model", "warm_up", "verify", "load", "evaluate", "train", "trial"]
Artifact = Literal["adapter", "state", "rollouts", "shard"]
FetchKind = Literal["model", "evaluator", "evaluator_manifest", "manifest", "shard", "artifact"]

SIGNIFICANT_DIGITS = 4
#: Numbers leave as 0 or ±d.ddd·10^e with e in this range; the gate refuses others.
EXPONENTS = range(-9, 10)
#: One number carries at most this many bits: sign × 9000 mantissas × exponents, two zeros, absent.
NUMBER_BITS = math.log2(2 * 9000 * len(EXPONENTS) + 3)
DIGEST_BITS = 256
#: An error code, and an enumerated word, are each one of at most 2^this many.
CODE_BITS, WORD_BITS = 10, 8
#: Largest number in a failure's place, and largest plaintext of a shard in bytes.
PLACE_BITS, SIZE_BITS = 32, 48
#: How often progress may be reported in one activity.
PROGRESS_LIMIT = 200
#: Bad records listed one by one in a run; the rest is only counted.
BAD_RECORD_LIMIT = 1000
#: Most completions of one trial of an evaluator, failures listed one by one, and bars of its
#: histogram.
TRIAL_COMPLETIONS = 4096
TRIAL_FAULT_LIMIT = 100
TRIAL_BINS = 10
#: Numbers of a trial beside the plan's evaluation metrics.
TRIAL_VALUES = (
    "group_std_mean",
    "score_max",
    "score_min",
    "score_std",
    "seconds_max",
    "seconds_mean",
    "zero_variance_share",
)
#: A line of an evaluator is below 2^this: its source has at most 2^20 bytes.
LINE_BITS = 21


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


# ---- numbers -----------------------------------------------------------------------------------


def rounded(value: float) -> float:
    """``value`` to four significant digits, clamped to the range that may leave; NaN is refused."""
    if not math.isfinite(value):
        raise ValueError("only finite numbers may leave the enclave")
    if abs(value) < 10.0 ** EXPONENTS[0]:
        return 0.0
    limit = 9.999 * 10.0 ** EXPONENTS[-1]
    return float(f"{max(-limit, min(limit, value)):.{SIGNIFICANT_DIGITS}g}")


class Limits(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How much may leave one enclave of a run; part of the plan, enforced by the gate."""

    steps: int
    checkpoints: int
    evaluations: int
    """While training; one before and one after come on top."""
    shards: int
    records: int
    fetches: int
    step_metrics: tuple[str, ...]
    evaluation_metrics: tuple[str, ...]
    output_bytes: int
    memory_bytes: int
    """Largest data memory of the enclave's process; the one limit that the kernel enforces."""


def capacity_bits(limits: Limits) -> int:
    """The largest number of bits per enclave start that could leave outside sealed bytes.

    Counts each record type at its limit: numbers at ``NUMBER_BITS``, free digests and keys at 256,
    ids and counts at the logarithm of the range that ``enclave.channel.gate`` lets pass. It is an
    upper bound on a channel that nobody is known to use, stated so that an auditor can weigh it.
    Timing, sizes and the order of records of different types are not counted.
    """
    step_id, shard_id, count = (
        math.log2(most + 2) for most in (limits.steps, limits.shards, limits.records)
    )
    steps = limits.steps * (1 + len(limits.step_metrics) * NUMBER_BITS)
    evaluation = 2 + count + len(limits.evaluation_metrics) * NUMBER_BITS
    evaluations = (2 + limits.evaluations) * evaluation
    # Per checkpoint: three plaintext digests, three 39-byte headers, one 64-byte signature.
    checkpoints = limits.checkpoints * (step_id + 3 * DIGEST_BITS + 3 * 39 * 8 + 512)
    puts = 3 * limits.checkpoints * (2 + step_id)
    fetches = limits.fetches * (6 + math.log2(max(fetch_indices(limits).values()) + 2))
    shards = limits.shards * (2 + shard_id + 2 * count + SIZE_BITS)
    bad = BAD_RECORD_LIMIT * (2 + shard_id + count + WORD_BITS)
    scored = math.log2(TRIAL_COMPLETIONS + 2)
    fault = count + scored + CODE_BITS + WORD_BITS + LINE_BITS + 1
    trial_numbers = (len(limits.evaluation_metrics) + len(TRIAL_VALUES)) * NUMBER_BITS
    trial = TRIAL_FAULT_LIMIT * fault + count + (2 + TRIAL_BINS) * scored + trial_numbers
    progress = 7 * PROGRESS_LIMIT * 2 * count
    evidence = 2 * DIGEST_BITS + 512
    failure = 2 + CODE_BITS + WORD_BITS + 6 * (PLACE_BITS + 1)
    said = steps + evaluations + shards + bad + trial + progress + failure
    return math.ceil(said + checkpoints + puts + fetches + evidence)


def fetch_indices(limits: Limits) -> dict[FetchKind, int]:
    """How many indices a ``Fetch`` of each kind may name, from 0."""
    return {
        "model": limits.fetches,
        "evaluator": 1,
        "evaluator_manifest": 1,
        "manifest": 1,
        "shard": limits.shards,
        "artifact": limits.steps + 1,
    }
