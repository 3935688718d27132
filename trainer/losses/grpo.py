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

from strongroom.trainer.losses.advantages import group_normalised
from strongroom.trainer.losses.objective import (
    Clipped,
    LossInput,
    LossOutput,
    mean_over_completions,
    penalty,
)
from strongroom.trainer.methods import GrpoMethod


@dataclass(frozen=True, kw_only=True)
class Grpo(Clipped):
    """ε and β are those of ``Clipped``."""

    def advantages(self, rewards_PG: Tensor, _lengths_PG: Tensor) -> Tensor:
        """Â of each completion, (P, G)."""
        return group_normalised(rewards_PG)

    def loss(self, tokens: LossInput) -> LossOutput:
        """-J of one step."""
        J_K, metrics = self.surrogate(tokens)
        return LossOutput(-mean_over_completions(J_K, tokens), metrics)


def build(config: GrpoMethod, _max_tokens: int) -> Grpo:
    """The objective of these settings."""
    return Grpo(
        kl=penalty(config),
        clip=config.clip,
        clip_high=config.high,
        ceiling=config.ratio_ceiling,
    )
