"""Group sequence policy optimisation: Zheng et al., "GSPO", arXiv:2507.18071, equations 5, 7, 13.

The ratio belongs to the completion, as its reward does: the geometric mean of its tokens' ratios::

    J(θ) = E[ 1/G Σ_i min(s_i Â_i, clip(s_i, 1-ε_low, 1+ε_high) Â_i) ]

    s_i = exp( 1/|o_i| Σ_t log π_θ(o_it | …) / π_old(o_it | …) )
    Â_i = (r_i - mean(r)) / std(r)

GSPO-token (equation 13) has the same value, and the gradient of each token through its own
probability: s_it = sg[s_i] · π_θ(o_it | …) / sg[π_θ(o_it | …)].
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from strongroom.trainer.losses.advantages import group_normalised
from strongroom.trainer.losses.objective import (
    LossInput,
    LossOutput,
    Penalised,
    clipped_surrogate,
    mean_over_completions,
    objective_with_kl,
    penalty,
    sum_per_completion,
)
from strongroom.trainer.methods import GspoMethod


@dataclass(frozen=True, kw_only=True)
class Gspo(Penalised):
    """ε_low = ``clip``, ε_high = ``clip_high``; ``per_token`` for GSPO-token."""

    clip: float
    clip_high: float
    per_token: bool

    def advantages(self, rewards_PG: Tensor, _lengths_PG: Tensor) -> Tensor:
        """Â of each completion, (P, G)."""
        return group_normalised(rewards_PG)

    def loss(self, tokens: LossInput) -> LossOutput:
        """-J of one step."""
        log_ratio_K = tokens.logprobs_K - tokens.old_logprobs_K
        mean_C = sum_per_completion(log_ratio_K, tokens) / tokens.lengths_C
        log_s_K = mean_C[tokens.completion_K]
        if self.per_token:
            log_s_K = log_s_K.detach() + tokens.logprobs_K - tokens.logprobs_K.detach()
        J_K, clipped = clipped_surrogate(
            log_s_K.exp(), tokens.advantages_K, self.clip, self.clip_high, None
        )
        J_K, divergence = objective_with_kl(J_K, tokens, self.kl)
        return LossOutput(-mean_over_completions(J_K, tokens), clipped | divergence)


def build(config: GspoMethod, _max_tokens: int) -> Gspo:
    """The objective of these settings."""
    return Gspo(
        kl=penalty(config),
        clip=config.clip,
        clip_high=config.clip_high,
        per_token=config.level == "token",
    )
