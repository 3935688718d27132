"""The numbers that a step reports, computed; their names are in ``trainer.metric_names``."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
from torch import Tensor

from trainer.advantages import equal_groups
from trainer.evaluators import Score
from trainer.rollout import Rollouts


class StepMetrics(msgspec.Struct, frozen=True, kw_only=True):
    """What one step reports."""

    step: int
    """Steps done, this one included: 1 to ``steps``."""
    values: dict[str, float]
    """Finite numbers under the names in ``trainer.metric_names.STEP_METRICS`` and
    ``evaluator_<name>``. A step in which no group had anything to teach reports no loss, gradient
    or agreement."""


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
    """What the completions of a step say, before anything is learned from them."""
    return {
        "reward_mean": rewards_PG.mean().item(),
        "reward_std": rewards_PG.std(dim=1).mean().item(),
        "zero_variance_share": equal_groups(rewards_PG).double().mean().item(),
        "completion_tokens_mean": rollouts.lengths_B.double().mean().item(),
        "truncated_share": 1.0 - rollouts.finished_B.double().mean().item(),
        **{f"evaluator_{name}": value for name, value in mean_metrics(scores).items()},
    }


def sampler_agreement(logprobs_K: Tensor, sampler_logprobs_K: Tensor) -> dict[str, float]:
    """How far the trainer's log-probabilities are from those recorded while sampling."""
    gap = (logprobs_K - sampler_logprobs_K).double()
    ratio = gap.exp()
    return {
        "sampler_gap_mean": gap.abs().mean().item(),
        "sampler_gap_max": gap.abs().max().item(),
        "ratio_min": ratio.min().item(),
        "ratio_mean": ratio.mean().item(),
        "ratio_max": ratio.max().item(),
    }
