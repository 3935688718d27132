"""GRPO done right: Liu et al., "Understanding R1-Zero-Like Training", arXiv:2503.20783, sec. 3.2.

GRPO without its two biases: no division by a completion's length, none by the group's deviation::

    J(θ) = E[ 1/G Σ_i 1/L Σ_t min(ρ_it Â_i, clip(ρ_it, 1-ε, 1+ε) Â_i) ],    Â_i = r_i - mean(r)

with the constant L = ``max_tokens`` in place of |o_i|.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from trainer.advantages import group_centred
from trainer.losses.objective import (
    KlPenalty,
    LossInput,
    LossOutput,
    clipped_surrogate,
    objective_with_kl,
)


@dataclass(frozen=True)
class DrGrpo:
    """ε = ``clip`` below and ``clip_high`` above; β = ``kl.weight`` (0 in the paper)."""

    clip: float
    clip_high: float
    ceiling: float | None
    kl: KlPenalty
    masks_truncated: bool = False
    refills: int = 0

    @property
    def uses_reference(self) -> bool:
        """The base model is needed only when β is above 0."""
        return self.kl.weight > 0

    def advantages(self, rewards_PG: Tensor, _lengths_PG: Tensor) -> Tensor:
        """Â of each completion, (P, G)."""
        return group_centred(rewards_PG)

    def loss(self, tokens: LossInput) -> LossOutput:
        """-J of one step."""
        rho_K = (tokens.logprobs_K - tokens.old_logprobs_K).exp()
        J_K, clipped = clipped_surrogate(
            rho_K, tokens.advantages_K, self.clip, self.clip_high, self.ceiling
        )
        J_K, divergence = objective_with_kl(J_K, tokens, self.kl)
        loss = -J_K.sum() / (tokens.n_completions * tokens.max_tokens)
        return LossOutput(loss, clipped | divergence)
