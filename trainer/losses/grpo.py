"""Group relative policy optimisation: DeepSeekMath, arXiv:2402.03300, equation 3.

With the paper's names, q a prompt and o_1 … o_G its completions::

    J(θ) = E[ 1/G Σ_i 1/|o_i| Σ_t { min(ρ_it Â_i, clip(ρ_it, 1-ε, 1+ε) Â_i) - β D_KL[π_θ‖π_ref] } ]

    ρ_it = π_θ(o_it | q, o_i,<t) / π_old(o_it | q, o_i,<t)
    Â_i  = (r_i - mean(r)) / std(r)                                      (outcome supervision)

The loss is -J, averaged over the prompts of a step.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from trainer.advantages import group_normalised
from trainer.losses.objective import (
    KlPenalty,
    LossInput,
    LossOutput,
    clipped_surrogate,
    mean_over_completions,
    objective_with_kl,
)


@dataclass(frozen=True)
class Grpo:
    """ε = ``clip`` below and ``clip_high`` above; β = ``kl.weight``."""

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
        return group_normalised(rewards_PG)

    def loss(self, tokens: LossInput) -> LossOutput:
        """-J of one step."""
        rho_K = (tokens.logprobs_K - tokens.old_logprobs_K).exp()
        J_K, clipped = clipped_surrogate(
            rho_K, tokens.advantages_K, self.clip, self.clip_high, self.ceiling
        )
        J_K, divergence = objective_with_kl(J_K, tokens, self.kl)
        return LossOutput(-mean_over_completions(J_K, tokens), clipped | divergence)
