"""The numbers that a step reports, computed; their names are in ``trainer.steps.metric_names``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec
import torch
from torch import Tensor

from strongroom.trainer.losses.advantages import equal_groups
from strongroom.trainer.rollouts.evaluators import Score
from strongroom.trainer.rollouts.rollout import Rollouts


class StepMetrics(msgspec.Struct, frozen=True, kw_only=True):
    """What one step reports."""

    step: int
    """Steps done, this one included: 1 to ``steps``."""
    values: dict[str, float]
    """Finite numbers under the names in ``trainer.steps.metric_names.STEP_METRICS`` and
    ``evaluator_<name>``. A step in which no group had a gradient reports no loss, gradient or
    sampler gap; one without a penalty to the base model no divergence from it."""


def mean_metrics(scores: Sequence[Score]) -> dict[str, float]:
    """Mean of each metric over the scores that have it, sorted by name."""
    totals: dict[str, list[float]] = {}
    for score in scores:
        for name, value in score.metrics.items():
            totals.setdefault(name, []).append(value)
    return {name: sum(values) / len(values) for name, values in sorted(totals.items())}


def rollout_metrics(
    rollouts: Rollouts, rewards_PG: Tensor, scores: Sequence[Score]
) -> dict[str, float]:
    """What can be reported of a step's completions before anything is learned from them."""
    return {
        "reward_mean": rewards_PG.mean().item(),
        "reward_std": rewards_PG.std(dim=1).mean().item(),
        "zero_variance_share": equal_groups(rewards_PG).double().mean().item(),
        "completion_tokens_mean": rollouts.lengths_B.double().mean().item(),
        "truncated_share": 1.0 - rollouts.finished_B.double().mean().item(),
        **{f"evaluator_{name}": value for name, value in mean_metrics(scores).items()},
    }


class LearningMetrics:
    """Gathers what the passes of one step's updates report, weighted by their tokens."""

    def __init__(self) -> None:
        self._tokens = 0
        self._means: dict[str, float] = {}
        self._losses: list[float] = []
        self._norms: list[float] = []
        self._ratios: list[Tensor] = []
        self._gaps: list[Tensor] = []

    def add_pass(
        self, logprobs_K: Tensor, old_logprobs_K: Tensor, means: Mapping[str, float], loss: float
    ) -> None:
        """One pass: its loss's share, and means over its K tokens."""
        size = len(logprobs_K)
        self._tokens += size
        for name, value in means.items():
            self._means[name] = self._means.get(name, 0.0) + value * size
        self._losses.append(loss)
        self._ratios.append((logprobs_K - old_logprobs_K).double().exp())

    def add_gap(self, logprobs_K: Tensor, sampler_logprobs_K: Tensor) -> None:
        """How far the trainer is from the sampler, before any update."""
        self._gaps.append((logprobs_K - sampler_logprobs_K).double().abs())

    def add_update(self, grad_norm: float) -> None:
        """The end of one update."""
        self._norms.append(grad_norm)

    def values(self) -> dict[str, float]:
        """All of it, under names of ``STEP_METRICS``."""
        ratio, gap = torch.cat(self._ratios), torch.cat(self._gaps)
        updates = len(self._norms)
        return {
            **{name: total / self._tokens for name, total in self._means.items()},
            "loss": sum(self._losses) / updates,
            "grad_norm": sum(self._norms) / updates,
            "ratio_min": ratio.min().item(),
            "ratio_mean": ratio.mean().item(),
            "ratio_max": ratio.max().item(),
            "sampler_gap_mean": gap.mean().item(),
            "sampler_gap_max": gap.max().item(),
        }
