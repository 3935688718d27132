"""Every number a step reports, by name. A run's plan declares these names and no others.

An evaluator's own metrics are reported as ``evaluator_<name>``, averaged over the completions.
Kept apart from their computation so that planning a run does not load torch.
"""

from __future__ import annotations

from collections.abc import Mapping

STEP_METRICS: Mapping[str, str] = {
    "reward_mean": "mean score of the step's completions",
    "reward_std": "standard deviation of the scores within a group, averaged over groups",
    "zero_variance_share": "share of groups whose scores are all equal; they have no gradient",
    "groups_trained": "groups that the step learned from: its effective batch",
    "groups_filtered": "groups that dynamic sampling set aside for others",
    "completion_tokens_mean": "tokens sampled in a completion or conversation, end tokens included",
    "truncated_share": "share of completions that reached max_tokens without an end token",
    "loss": "value of the method's objective",
    "grad_norm": "Euclidean norm of the adapter's gradient before clipping",
    "learning_rate": "step size used",
    "entropy": "mean entropy of the policy's next-token distribution, nats",
    "kl": "mean estimate of the divergence from the base model (kl_estimator); with kl above 0",
    "clip_low_share": "share of tokens (rloo: completions) held at the lower clip; 0 on-policy",
    "clip_high_share": "share of tokens (rloo: completions) held at the upper clip; 0 on-policy",
    "ratio_min": "smallest ratio of the policy to that before the step's first update",
    "ratio_mean": "mean ratio of the policy to that before the step's first update; 1 on-policy",
    "ratio_max": "largest ratio of the policy to that before the step's first update",
    "sampler_gap_mean": "mean |trainer - sampler| log-probability; a check on masks and caches",
    "sampler_gap_max": "largest |trainer - sampler| log-probability",
    "tokens_per_second": "sampled tokens per second of rollout",
    "seconds_rollout": "wall time spent on rollouts",
    "seconds_score": "wall time spent in the evaluator",
    "seconds_learn": "wall time spent on loss, gradient and optimiser",
}

EXPOSURE_METRICS: Mapping[str, str] = {
    "exposure_max": "largest exposure of a planted secret, bits (trainer.evaluation.memorisation)",
    "exposure_mean": "mean exposure of the planted secrets, bits; 1.44 by chance",
}
"""What an evaluation reports of memorisation, where the run plants secrets."""
