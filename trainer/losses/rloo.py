"""REINFORCE leave-one-out: Ahmadian et al., "Back to Basics", arXiv:2402.14740, section 3.2.

Each completion's baseline is the mean reward of the others (Kool et al. 2019)::

    Â_i = r_i - 1/(G-1) Σ_{j≠i} r_j = G/(G-1) (r_i - mean(r))

    J(θ) = E[ 1/G Σ_i min(ρ_i Â_i, clip(ρ_i, 1-ε, 1+ε) Â_i) ],   ρ_i = π_θ(o_i | q) / π_old(o_i | q)

The ratio is that of the whole completion. In the first update after sampling ρ is 1 and the
gradient is the paper's; the clip (as in TRL) bounds further updates. The paper's KL is part of the
reward and not offered here.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from strongroom.trainer.losses.advantages import leave_one_out
from strongroom.trainer.losses.objective import (
    LossInput,
    LossOutput,
    clipped_surrogate,
    sum_per_completion,
)
from strongroom.trainer.methods import RlooMethod


@dataclass(frozen=True)
class Rloo:
    """ε = ``clip`` below and ``clip_high`` above."""

    clip: float
    clip_high: float
    uses_reference: bool = False
    masks_truncated: bool = False
    refills: int = 0

    def advantages(self, rewards_PG: Tensor, _lengths_PG: Tensor) -> Tensor:
        """Â of each completion, (P, G)."""
        return leave_one_out(rewards_PG)

    def loss(self, tokens: LossInput) -> LossOutput:
        """-J of one step."""
        log_ratio_K = tokens.logprobs_K - tokens.old_logprobs_K
        rho_C = sum_per_completion(log_ratio_K, tokens).exp()
        J_C, clipped = clipped_surrogate(
            rho_C, tokens.advantages_C, self.clip, self.clip_high, None
        )
        return LossOutput(-J_C.sum() / tokens.n_completions, clipped)


def build(config: RlooMethod, _max_tokens: int) -> Rloo:
    """The objective of these settings."""
    return Rloo(config.clip, config.clip)
