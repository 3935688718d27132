"""Training methods: what each makes of rewards and log-probabilities.

The loop knows only :class:`Objective`. A method is one file here, one configuration in
``trainer.config`` and one line in :func:`build_objective`.
"""

from __future__ import annotations

from trainer.config import Method
from trainer.losses.grpo import Grpo
from trainer.losses.objective import LossInput, LossOutput, Objective

__all__ = ["LossInput", "LossOutput", "Objective", "build_objective"]


def build_objective(method: Method) -> Objective:
    """The objective that ``method`` names."""
    return {"grpo": Grpo}[method.type](clip=method.clip, kl=method.kl)
