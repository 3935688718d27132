"""What a report says of the model's memory: the exposure of the secrets that the run planted.

The numbers are the enclave's (``trainer.evaluation.memorisation``); here they are held against
luck. A secret that a model never saw has an exposure of more than ``x`` bits with probability
``2^-x``, so the mean over N secrets is Erlang distributed and their maximum is below ``x`` with
``(1 - 2^-x)^N``.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from strongroom.audit.events import types
from strongroom.audit.report.entries import Entries, of
from strongroom.audit.report.planned import Planted

MEAN, MAX = "exposure_mean", "exposure_max"
BASE = "base model"
CONFIDENCE = 0.95
CHANCE_BITS = 1 / math.log(2)
"""Mean exposure of a secret that was never seen: 1.44 bits."""


@dataclass(frozen=True)
class Measured:
    """Mean and maximum exposure at one evaluation, in bits."""

    label: str
    mean: float
    maximum: float


@dataclass(frozen=True)
class Remembered:
    """The planted secrets and how exposed they were, evaluation by evaluation."""

    secrets: int
    repetitions: int
    bits: float
    """Size of the space that each secret was drawn from: the exposure of one that is known."""
    measured: tuple[Measured, ...]

    @property
    def likely_mean(self) -> float:
        """What luck alone keeps the mean below, 95 times in 100."""
        return _below(lambda x: _erlang(self.secrets, self.secrets * x * math.log(2)), self.bits)

    @property
    def likely_maximum(self) -> float:
        """What luck alone keeps the maximum below, 95 times in 100."""
        return min(self.bits, -math.log2(1 - CONFIDENCE ** (1 / self.secrets)))

    @property
    def trained(self) -> bool:
        """Whether an adapter was measured, and not the base model alone."""
        return self.measured[-1].label != BASE

    @property
    def by_luck(self) -> bool:
        """Whether the last evaluation is what a model shows that remembers nothing.

        Else it is above luck's bound and, so that lucky draws are not taken for memory, a bit
        above the base model too, which never saw the secrets: half as many guesses.
        """
        base, last = self.measured[0], self.measured[-1]
        mean = last.mean > max(self.likely_mean, base.mean + 1)
        maximum = last.maximum > max(self.likely_maximum, base.maximum + 1)
        return not (mean or maximum)


def remembered(entries: Entries, planted: Planted | None) -> Remembered | None:
    """How exposed a run's planted secrets were; None where none was planted, or none measured."""
    measured = tuple(
        Measured(_label(entry.data), entry.data.values[MEAN], entry.data.values[MAX])
        for entry in of(entries, types.EvaluationFinished)
        if entry.data.values.keys() >= {MEAN, MAX}
    )
    if planted is None or not measured:
        return None
    return Remembered(
        secrets=planted.secrets,
        repetitions=planted.repetitions,
        bits=2 * math.log2(planted.words),
        measured=measured,
    )


def _label(data: types.EvaluationFinished) -> str:
    return {"before": BASE, "after": "trained"}.get(data.phase, f"step {data.step}")


def _erlang(count: int, x: float) -> float:
    """P(sum of ``count`` exponential variables of mean 1 is at most ``x``)."""
    term = total = math.exp(-x)
    for k in range(1, count):
        term *= x / k
        total += term
    return 1 - total


def _below(probability: Callable[[float], float], high: float) -> float:
    """The value that a variable with this distribution function stays below, 95 times in 100."""
    low = 0.0
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if probability(middle) < CONFIDENCE else (low, middle)
    return high
