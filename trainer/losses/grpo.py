"""Group relative policy optimisation: DeepSeekMath, arXiv:2402.03300, equation 3.

With the paper's names, q a prompt and o_1 … o_G its completions::

    J(θ) = E[ 1/G Σ_i 1/|o_i| Σ_t { min(ρ_it Â_i, clip(ρ_it, 1-ε, 1+ε) Â_i) - β D_KL[π_θ‖π_ref] } ]

    ρ_it = π_θ(o_it | q, o_i,<t) / π_old(o_it | q, o_i,<t)
    Â_i  = (r_i - mean(r)) / std(r)                                      (outcome supervision)
    D_KL = π_ref/π_θ - log(π_ref/π_θ) - 1                                (equation 4, "k3")

The loss is -J, averaged over the prompts of a step.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from trainer.advantages import group_normalised
from trainer.losses.objective import LossInput, LossOutput


@dataclass(frozen=True)
class Grpo:
    """The objective with clip width ε = ``clip`` and KL weight β = ``kl``."""

    clip: float
    kl: float

    @property
    def uses_reference(self) -> bool:
        """The base model is needed only when β is above 0."""
        return self.kl > 0

    def advantages(self, rewards_PG: Tensor) -> Tensor:
        """Â of each completion, (P, G)."""
        return group_normalised(rewards_PG)

    def loss(self, tokens: LossInput) -> LossOutput:
        """-J of one step."""
        A = tokens.advantages_C[tokens.completion_K]
        rho = (tokens.logprobs_K - tokens.old_logprobs_K).exp()
        clipped = rho.clamp(1 - self.clip, 1 + self.clip)
        J_K = torch.minimum(rho * A, clipped * A)
        metrics = {"clip_share": (clipped * A < rho * A).double().mean().item(), "kl": 0.0}
        if tokens.reference_logprobs_K is not None:
            D_KL = k3(tokens.logprobs_K, tokens.reference_logprobs_K)
            J_K = J_K - self.kl * D_KL
            metrics["kl"] = D_KL.detach().mean().item()
        per_completion = J_K / tokens.lengths_C[tokens.completion_K]
        loss = -per_completion.sum() / tokens.n_completions
        return LossOutput(loss=loss, metrics=metrics)


def k3(logprobs_K: Tensor, reference_logprobs_K: Tensor) -> Tensor:
    """Unbiased, non-negative estimate of D_KL[π_θ‖π_ref] for tokens drawn from π_θ (K,)."""
    log_ratio = reference_logprobs_K - logprobs_K
    return log_ratio.exp() - log_ratio - 1
