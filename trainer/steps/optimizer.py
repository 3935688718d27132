"""AdamW without weight decay on the adapter's flat weights (arXiv:1711.05101).

A handful of vector operations on three flat tensors, where ``torch.optim`` makes as many for each
of the adapter's hundreds of matrices and imports modules in its first step. The arithmetic is the
same (``tests/trainer/steps/test_optimizer.py`` compares the two).
"""

from __future__ import annotations

import math

import torch

from strongroom.trainer.errors import NotFinite
from strongroom.trainer.model.lora import Policy

BETAS = (0.9, 0.95)
EPSILON = 1e-8
MAX_GRAD_NORM = 1.0


class AdamW:
    """Moments of one policy's adapter."""

    def __init__(self, policy: Policy) -> None:
        self._policy = policy
        self.exp_avg = torch.zeros_like(policy.flat)
        self.exp_avg_sq = torch.zeros_like(policy.flat)
        self.updates = 0
        """Updates made so far; corrects the moments' start at zero."""

    @torch.no_grad()
    def step(self, learning_rate: float) -> float:
        """Clip the gradient to norm 1, update the weights, clear the gradient.

        Returns the norm before clipping. Raises :class:`NotFinite`, and changes nothing, when the
        gradient is not finite.
        """
        grad = self._policy.flat_grad
        norm = float(torch.linalg.vector_norm(grad))
        if not math.isfinite(norm):
            raise NotFinite(place="gradient", expected="a finite norm", actual=str(norm))
        grad.mul_(min(1.0, MAX_GRAD_NORM / (norm + 1e-6)))
        self.updates += 1
        beta1, beta2 = BETAS
        self.exp_avg.lerp_(grad, 1 - beta1)
        self.exp_avg_sq.mul_(beta2).addcmul_(grad, grad, value=1 - beta2)
        scale = math.sqrt(1 - beta2**self.updates)
        denominator = (self.exp_avg_sq.sqrt() / scale).add_(EPSILON)
        self._policy.flat.addcdiv_(
            self.exp_avg, denominator, value=-learning_rate / (1 - beta1**self.updates)
        )
        grad.zero_()
        return norm


def warmed_up(learning_rate: float, step: int, warmup_steps: int) -> float:
    """The step size of ``step`` (from 0): linear over ``warmup_steps``, then constant."""
    return learning_rate * min(1.0, (step + 1) / max(1, warmup_steps))
