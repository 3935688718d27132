"""What a training method is to the loop: advantages from rewards, a loss from log-probabilities."""

# Field names carry their shapes.
# ruff: noqa: N815
from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from torch import Tensor


@dataclass(frozen=True)
class LossInput:
    """K completion tokens of C completions."""

    logprobs_K: Tensor
    """``log π_θ`` of each token, with gradient."""
    old_logprobs_K: Tensor
    """``log π_old``: the policy that sampled. On-policy it is ``logprobs_K.detach()``."""
    reference_logprobs_K: Tensor | None
    """``log π_ref``: the base model; given when the objective asks for it."""
    advantages_C: Tensor
    """One advantage per completion."""
    completion_K: Tensor
    """Which completion each token belongs to, 0 to C - 1."""
    lengths_C: Tensor
    """Tokens of each completion."""
    n_completions: int
    """Completions of the whole step, those of skipped groups included; at least C."""


@dataclass(frozen=True)
class LossOutput:
    """A scalar to minimise, and numbers to report under names of ``STEP_METRICS``."""

    loss: Tensor
    metrics: dict[str, float]


class Objective(Protocol):
    """One training method."""

    @property
    def uses_reference(self) -> bool:
        """Whether the loss needs the base model's log-probabilities.

        Groups without any advantage then still count; otherwise they are skipped.
        """

    def advantages(self, rewards_PG: Tensor) -> Tensor:
        """One advantage per completion, (P, G)."""

    def loss(self, tokens: LossInput) -> LossOutput:
        """The loss of one step; pure."""
