"""GRPO done right: Liu et al., "Understanding R1-Zero-Like Training", arXiv:2503.20783, sec. 3.2.

GRPO without its two biases: no division by a completion's length, none by the group's deviation::

    J(θ) = E[ 1/G Σ_i 1/L Σ_t min(ρ_it Â_i, clip(ρ_it, 1-ε, 1+ε) Â_i) ],    Â_i = r_i - mean(r)

with the constant L = ``max_tokens`` in place of |o_i|.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from strongroom.trainer.losses.advantages import group_centred
from strongroom.trainer.losses.objective import Clipped, LossInput, LossOutput, penalty
from strongroom.trainer.methods import DrGrpoMethod


@dataclass(frozen=True, kw_only=True)
class DrGrpo(Clipped):
    """ε and β are those of ``Clipped``; β is 0 in the paper."""

    def advantages(self, rewards_PG: Tensor, _lengths_PG: Tensor) -> Tensor:
        """Â of each completion, (P, G)."""
        return group_centred(rewards_PG)

    def loss(self, tokens: LossInput) -> LossOutput:
        """-J of one step."""
        J_K, metrics = self.surrogate(tokens)
        loss = -J_K.sum() / (tokens.n_completions * tokens.max_tokens)
        return LossOutput(loss, metrics)


def build(config: DrGrpoMethod, _max_tokens: int) -> DrGrpo:
    """The objective of these settings."""
    return DrGrpo(
        kl=penalty(config),
        clip=config.clip,
        clip_high=config.high,
        ceiling=config.ratio_ceiling,
    )
