"""Every number a step reports, by name. A run's plan declares these names and no others.

An evaluator's own metrics are reported as ``evaluator_<name>``, averaged over the completions.
Kept apart from their computation so that planning a run does not load torch.
"""

from __future__ import annotations

from collections.abc import Mapping

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
