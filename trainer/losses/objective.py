"""What a training method is to the loop: advantages from rewards, a loss from log-probabilities.

Also the arithmetic that several methods share. All of it is pure. Sums run over the K tokens of one
pass and are divided by counts of the whole step, so that the losses of a step's passes add up to
the loss of the step.
"""

# Field names carry their shapes.
# ruff: noqa: N815
from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from strongroom.trainer.methods import PenalisedMethod


@dataclass(frozen=True)
class LossInput:
    """K completion tokens of C completions: a whole step, or one of the parts it is cut into."""

    logprobs_K: Tensor
    """``log π_θ`` of each token, with gradient."""
    old_logprobs_K: Tensor
    """``log π_old``: the policy before the step's first update. In that it is
    ``logprobs_K.detach()``."""
    reference_logprobs_K: Tensor | None
    """``log π_ref``: the base model; given when the objective asks for it."""
    correction_K: Tensor | None
    """Weights for what sampler and trainer disagree on (:func:`truncated_correction`)."""
    advantages_C: Tensor
    """One advantage per completion."""
    completion_K: Tensor
    """Which completion each token belongs to, 0 to C - 1."""
    lengths_C: Tensor
    """Tokens of each completion."""
    n_completions: int
    """Completions of the whole step, those that are left out included; at least C."""
    n_tokens: int
    """Tokens of the whole step's completions, without those masked for being cut off."""
    max_tokens: int
    """Longest completion that could be sampled."""

    @property
    def advantages_K(self) -> Tensor:
        """Each token's completion's advantage."""
        return self.advantages_C[self.completion_K]


@dataclass(frozen=True)
class LossOutput:
    """A scalar to minimise, and numbers to report under names of ``STEP_METRICS``."""

    loss: Tensor
    metrics: dict[str, float]
    """Means over the K tokens."""


class Objective(Protocol):
    """One training method."""

    @property
    def uses_reference(self) -> bool:
        """Whether the loss needs the base model's log-probabilities.

        Groups without any advantage then still count; otherwise they are skipped.
        """

    @property
    def masks_truncated(self) -> bool:
        """Whether completions that were cut off at ``max_tokens`` are left out of the loss."""

    @property
    def refills(self) -> int:
        """How often a step may sample further prompts in place of groups that teach nothing:
        of equal rewards, or with no completion that counts."""

    def advantages(self, rewards_PG: Tensor, lengths_PG: Tensor) -> Tensor:
        """One advantage per completion, (P, G); exactly 0 throughout a group of equal rewards."""

    def loss(self, tokens: LossInput) -> LossOutput:
        """The loss, or a part's share of it; pure."""


@dataclass(frozen=True)
class KlPenalty:
    """``weight`` times an estimate of D_KL[π_θ‖π_ref], per token drawn from π_θ.

    Estimators as named by J. Schulman, "Approximating KL divergence" (2020), with
    r = π_ref(token) / π_θ(token): k1 = -log r, k2 = (log r)² / 2, k3 = r - 1 - log r.
    """

    weight: float
    estimator: str

    def of(self, tokens: LossInput) -> Tensor | None:
        """The estimate for each token, (K,); ``None`` when there is no reference."""
        if tokens.reference_logprobs_K is None:
            return None
        log_r = tokens.reference_logprobs_K - tokens.logprobs_K
        match self.estimator:
            case "k1":
                return -log_r
            case "k2":
                return log_r.square() / 2
            case _:
                return log_r.exp() - 1 - log_r


def penalty(config: PenalisedMethod) -> KlPenalty:
    """The penalty that a method's settings ask for."""
    return KlPenalty(config.kl, config.kl_estimator or "k3")


@dataclass(frozen=True, kw_only=True)
class Penalised:
    """What methods with a penalty to the base model share; β is ``kl.weight``."""

    kl: KlPenalty
    masks_truncated: bool = False
    refills: int = 0

    @property
    def uses_reference(self) -> bool:
        """The base model is needed only when β is above 0."""
        return self.kl.weight > 0


@dataclass(frozen=True, kw_only=True)
class Clipped(Penalised):
    """What methods with PPO's clip per token share: ε is ``clip`` below, ``clip_high`` above."""

    clip: float
    clip_high: float
    ceiling: float | None = None

    def surrogate(self, tokens: LossInput) -> tuple[Tensor, dict[str, float]]:
        """Clipped, corrected and penalised objective of each token, (K,), and what to report."""
        rho_K = (tokens.logprobs_K - tokens.old_logprobs_K).exp()
        J_K, clipped = clipped_surrogate(
            rho_K, tokens.advantages_K, self.clip, self.clip_high, self.ceiling
        )
        J_K, divergence = objective_with_kl(J_K, tokens, self.kl)
        return J_K, clipped | divergence


def objective_with_kl(
    J_K: Tensor, tokens: LossInput, kl: KlPenalty
) -> tuple[Tensor, dict[str, float]]:
    """``correction · J - β · KL`` of each token, and the mean KL to report where it is measured."""
    if tokens.correction_K is not None:
        J_K = J_K * tokens.correction_K
    D_KL = kl.of(tokens)
    if D_KL is None:
        return J_K, {}
    return J_K - kl.weight * D_KL, {"kl": _mean(D_KL)}


def clipped_surrogate(
    rho: Tensor, A: Tensor, low: float, high: float, ceiling: float | None
) -> tuple[Tensor, dict[str, float]]:
    """``min(ρ A, clip(ρ, 1 - low, 1 + high) A)`` (PPO, arXiv:1707.06347), and what was clipped.

    ``ceiling`` also bounds ρ where A is negative (two-sided clip, arXiv:1912.09729).
    """
    bounded = rho if ceiling is None else rho.clamp(max=ceiling)
    J = torch.minimum(bounded * A, rho.clamp(1 - low, 1 + high) * A)
    return J, {
        "clip_low_share": _mean(((rho < 1 - low) & (A < 0)).double()),
        "clip_high_share": _mean(((rho > 1 + high) & (A > 0)).double()),
    }


def sum_per_completion(values_K: Tensor, tokens: LossInput) -> Tensor:
    """Sum of the tokens of each completion, (C,)."""
    zeros = values_K.new_zeros(len(tokens.lengths_C))
    return zeros.index_add(0, tokens.completion_K, values_K)


def mean_over_completions(values_K: Tensor, tokens: LossInput) -> Tensor:
    """``1/n_completions Σ_i 1/|o_i| Σ_t``."""
    return (values_K / tokens.lengths_C[tokens.completion_K]).sum() / tokens.n_completions


def mean_over_tokens(values_K: Tensor, tokens: LossInput) -> Tensor:
    """``1/Σ|o_i| Σ_i Σ_t``."""
    return values_K.sum() / max(1, tokens.n_tokens)


def truncated_correction(old_logprobs_K: Tensor, sampler_logprobs_K: Tensor, cap: float) -> Tensor:
    """Truncated importance weights ``min(π_old / π_sampler, cap)`` (Yao et al. 2025, "Your
    efficient RL framework secretly brings you off-policy RL training")."""
    return (old_logprobs_K - sampler_logprobs_K).exp().clamp(max=cap)


def _mean(values: Tensor) -> float:
    return values.detach().double().mean().item()
