"""How much may leave an enclave beside sealed bytes: the limits of each record, and their sum.

The gate enforces the limits; the plan, the policy and the report state the sum.
"""

from __future__ import annotations

import math
from typing import get_args

import msgspec

from strongroom.enclave.channel.frames import Activity, FetchKind

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
    progress = len(get_args(Activity)) * PROGRESS_LIMIT * 2 * count
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
