"""Decoupled clip and dynamic sampling: Yu et al., "DAPO", arXiv:2503.14476, equations 8 to 13.

Four changes to GRPO, each with its own setting::

    J(θ) = E[ 1/Σ_i|o_i| Σ_i Σ_t min(ρ_it Â_i, clip(ρ_it, 1-ε_low, 1+ε_high) Â_i) ]

    clip-higher       ε_high above ε_low, so that unlikely tokens can grow (section 3.1)
    dynamic sampling  groups that are all right or all wrong are sampled anew (3.2)
    token level       every token weighs the same, whatever its completion's length (3.3)
    overlong          completions that were cut off are masked, or lose reward softly (3.4):

    R_length(o) = 0 up to L - B tokens, then (L - B - |o|) / B down to -1 at L tokens

with L = ``max_tokens`` and B = ``overlong_buffer``.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from strongroom.trainer.losses.advantages import group_normalised
from strongroom.trainer.losses.objective import (
    Clipped,
    LossInput,
    LossOutput,
    mean_over_tokens,
    penalty,
)
from strongroom.trainer.methods import DapoMethod


@dataclass(frozen=True, kw_only=True)
class Dapo(Clipped):
    """ε_low = ``clip``, ε_high = ``clip_high``; β = ``kl.weight`` (0 in the paper)."""

    overlong_buffer: int
    overlong_penalty: float
    max_tokens: int

    def advantages(self, rewards_PG: Tensor, lengths_PG: Tensor) -> Tensor:
        """Â of each completion after the soft penalty on long ones, (P, G)."""
        return group_normalised(rewards_PG + self._penalty(lengths_PG))

    def loss(self, tokens: LossInput) -> LossOutput:
        """-J of one step."""
        J_K, metrics = self.surrogate(tokens)
        return LossOutput(-mean_over_tokens(J_K, tokens), metrics)

    def _penalty(self, lengths_PG: Tensor) -> Tensor:
        """``overlong_penalty`` times R_length, (P, G); equation 13."""
        if not self.overlong_buffer:
            return lengths_PG.double() * 0.0
        free = self.max_tokens - self.overlong_buffer
        excess = (lengths_PG.double() - free).clamp(min=0.0)
        return -self.overlong_penalty * excess / self.overlong_buffer


def build(config: DapoMethod, max_tokens: int) -> Dapo:
    """The objective of these settings."""
    return Dapo(
        kl=penalty(config),
        clip=config.clip,
        clip_high=config.high,
        ceiling=config.ratio_ceiling,
        masks_truncated=config.mask_truncated,
        refills=config.refills,
        overlong_buffer=config.overlong_buffer,
        overlong_penalty=config.overlong_penalty,
        max_tokens=max_tokens,
    )
