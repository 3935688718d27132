"""Every number a step reports, by name. A run's plan declares these names and no others.

An evaluator's own metrics are reported as ``evaluator_<name>``, averaged over the completions.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec
from torch import Tensor

from trainer.advantages import equal_groups
from trainer.evaluators import Score
from trainer.rollout import Rollouts

STEP_METRICS: Mapping[str, str] = {
    "reward_mean": "mean score of the step's completions",
    "reward_std": "standard deviation of the scores within a group, averaged over groups",
    "zero_variance_share": "share of groups whose scores are all equal; they teach nothing",
    "completion_tokens_mean": "tokens in a completion, its end token included",
    "truncated_share": "share of completions that reached max_tokens without an end token",
    "loss": "value of the method's objective",
    "grad_norm": "Euclidean norm of the adapter's gradient before clipping",
    "learning_rate": "step size used",
    "entropy": "mean entropy of the policy's next-token distribution, nats",
    "kl": "mean k3 estimate of the divergence from the base model; 0 when not measured",
    "clip_share": "share of tokens whose ratio was clipped; 0 on-policy",
    "ratio_min": "smallest ratio of trainer to sampler probability",
    "ratio_mean": "mean ratio of trainer to sampler probability",
    "ratio_max": "largest ratio of trainer to sampler probability",
    "sampler_gap_mean": "mean |trainer - sampler| log-probability; a check on masks and caches",
    "sampler_gap_max": "largest |trainer - sampler| log-probability",
    "tokens_per_second": "sampled tokens per second of rollout",
    "seconds_rollout": "wall time spent on rollouts",
    "seconds_score": "wall time spent in the evaluator",
    "seconds_learn": "wall time spent on loss, gradient and optimiser",
}


class StepMetrics(msgspec.Struct, frozen=True, kw_only=True):
    """What one step reports."""

    step: int
    """Steps done, this one included: 1 to ``steps``."""
    values: dict[str, float]
    """Finite numbers under the names in :data:`STEP_METRICS` and ``evaluator_<name>``. A step in
    which no group had anything to teach reports no loss, gradient or agreement."""


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
