"""Advantages: how much better a completion did than its group. Pure functions."""

from __future__ import annotations

import torch
from torch import Tensor

STD_FLOOR = 1e-4
"""Added to the standard deviation, as in the GRPO authors' and TRL's code."""


def group_normalised(rewards_PG: Tensor) -> Tensor:
    """GRPO's advantages (arXiv:2402.03300, section 4.1.2): ``(r - mean) / (std + 1e-4)``.

    ``rewards_PG`` holds one row per prompt and one column per completion; the standard deviation
    is Bessel-corrected. Groups of equal rewards get exactly 0, not a rounding error divided by a
    small number. Returns float32 of the same shape.
    """
    rewards = rewards_PG.double()
    centred = rewards - rewards.mean(dim=1, keepdim=True)
    advantages = centred / (rewards.std(dim=1, keepdim=True) + STD_FLOOR)
    return advantages.masked_fill(equal_groups(rewards_PG)[:, None], 0.0).float()


def group_centred(rewards_PG: Tensor) -> Tensor:
    """Dr.GRPO's advantages (arXiv:2503.20783): ``r - mean``, exactly 0 in groups of equal rewards.

    Returns float32 of the same shape.
    """
    rewards = rewards_PG.double()
    centred = rewards - rewards.mean(dim=1, keepdim=True)
    return centred.masked_fill(equal_groups(rewards_PG)[:, None], 0.0).float()


def leave_one_out(rewards_PG: Tensor) -> Tensor:
    """RLOO's advantages (arXiv:2402.14740): the reward less the mean of the others'.

    Returns float32 of the same shape.
    """
    size = rewards_PG.shape[1]
    return group_centred(rewards_PG) * (size / (size - 1))


def equal_groups(rewards_PG: Tensor) -> Tensor:
    """Which groups have no variance: bool, one per prompt."""
    return torch.eq(rewards_PG.amax(dim=1), rewards_PG.amin(dim=1))
