"""How far a sampler's log-probabilities are from the trainer's, and how far they may be."""

import torch

from strongroom.trainer.steps.batch import pack_groups
from strongroom.trainer.steps.logprobs import completion_logprobs

MEAN_BF16, MAX_BF16 = 0.02, 0.5
"""Bounds on |vLLM's log-probability - the trainer's| in bfloat16, whose numbers have 8 bits."""


@torch.no_grad()
def gaps(policy, rollouts, temperature):
    """|sampler - trainer| for each drawn token."""
    keep_PG = torch.ones(len(rollouts.prompts), rollouts.samples, dtype=torch.bool)
    batch = pack_groups(rollouts, range(len(rollouts.prompts)), keep_PG)
    logprobs_K, _ = completion_logprobs(policy, batch, temperature)
    return (logprobs_K - batch.sampler_logprobs_K).abs()
