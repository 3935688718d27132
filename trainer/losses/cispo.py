"""Clipped importance sampling: MiniMax-M1, arXiv:2506.13585, equations 4 and 5.

Clips the weight of a token and never its gradient, so that no token drops out::

    J(θ) = E[ 1/Σ_i|o_i| Σ_i Σ_t sg[min(ρ_it, cap)] Â_i log π_θ(o_it | q, o_i,<t) ]

with Â as in GRPO, no lower bound on ρ, and no KL in the paper.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from strongroom.trainer.losses.advantages import group_normalised
from strongroom.trainer.losses.objective import (
    LossInput,
    LossOutput,
    Penalised,
    mean_over_tokens,
    objective_with_kl,
    penalty,
)
from strongroom.trainer.methods import CispoMethod


@dataclass(frozen=True, kw_only=True)
class Cispo(Penalised):
    """``cap`` bounds the ratio itself: ε_high^IS + 1 in the paper's terms."""

    cap: float

    def advantages(self, rewards_PG: Tensor, _lengths_PG: Tensor) -> Tensor:
        """Â of each completion, (P, G)."""
        return group_normalised(rewards_PG)

    def loss(self, tokens: LossInput) -> LossOutput:
        """-J of one step."""
        rho_K = (tokens.logprobs_K - tokens.old_logprobs_K).detach().exp()
        J_K = rho_K.clamp(max=self.cap) * tokens.advantages_K * tokens.logprobs_K
        J_K, divergence = objective_with_kl(J_K, tokens, self.kl)
        capped = (rho_K > self.cap).double().mean().item()
        metrics = {"clip_low_share": 0.0, "clip_high_share": capped} | divergence
        return LossOutput(-mean_over_tokens(J_K, tokens), metrics)


def build(config: CispoMethod, _max_tokens: int) -> Cispo:
    """The objective of these settings."""
    return Cispo(kl=penalty(config), cap=config.cap)
