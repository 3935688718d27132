"""The second half of a step: batch, loss, gradient, update.

A step's groups may go through the model in several passes, and be learned from in several updates.
Every loss is divided by counts of the whole step, so cutting it into passes changes the rounding of
its sums and nothing else.
"""

# Field names carry their shapes.
# ruff: noqa: N815
from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from strongroom.trainer.config import TrainingConfig
from strongroom.trainer.errors import NotFinite
from strongroom.trainer.losses.objective import LossInput, Objective, truncated_correction
from strongroom.trainer.model.lora import Policy
from strongroom.trainer.steps.batch import GroupBatch, pack_groups
from strongroom.trainer.steps.logprobs import completion_logprobs
from strongroom.trainer.steps.metrics import LearningMetrics
from strongroom.trainer.steps.optimizer import warmed_up
from strongroom.trainer.steps.sampling import Sampled
from strongroom.trainer.steps.state import TrainingState


@dataclass(frozen=True)
class _Counts:
    """What a step's loss is divided by."""

    completions: int
    tokens: int


@dataclass
class _Pass:
    """Groups that go through the model together."""

    batch: GroupBatch
    advantages_C: Tensor
    reference_K: Tensor | None
    old_K: Tensor | None = None
    """Log-probabilities before the step's first update, once they are known."""


@dataclass(frozen=True)
class Learner:
    """Updates the policy from sampled groups."""

    policy: Policy
    objective: Objective
    config: TrainingConfig

    def learn(self, sampled: Sampled, state: TrainingState) -> dict[str, float]:
        """Update the policy; returns metrics.

        A group without a gradient is left out, which changes nothing but the time it takes. With
        none left nothing is updated: the optimizer's momentum alone would continue in the direction
        of the last gradient, often that of a single group (docs/adr/0013).

        Raises :class:`NotFinite` for a loss or gradient that is not.
        """
        learning_rate = warmed_up(self.config.learning_rate, state.step, self.config.warmup_steps)
        counted_PG = sampled.counted_PG(self.objective)
        useful_P = sampled.differing_P | self.objective.uses_reference
        # Groups that were replaced by others are no part of the step; without refills all are.
        refilled = self.objective.refills > 0
        step_P = sampled.informative_P(self.objective) if refilled else torch.ones_like(useful_P)
        trained_P = useful_P & step_P & counted_PG.any(dim=1)
        report = {
            "learning_rate": learning_rate,
            "groups_trained": float(trained_P.sum()),
            "groups_filtered": float((~step_P).sum()),
        }
        if not trained_P.any():
            return report
        lengths_PG = sampled.rollouts.lengths_B.view_as(counted_PG)
        counts = _Counts(
            completions=int(step_P.sum()) * counted_PG.shape[1],
            tokens=int((lengths_PG * counted_PG)[step_P].sum()),
        )
        passes = self._passes(sampled, trained_P, counted_PG)
        metrics = LearningMetrics()
        for _ in range(self.config.updates_per_step):
            for each in passes:
                self._backward(each, counts, metrics, state.step + 1)
            metrics.add_update(state.optimizer.step(learning_rate))
        return report | metrics.values()

    def _passes(self, sampled: Sampled, trained_P: Tensor, counted_PG: Tensor) -> list[_Pass]:
        """The groups in passes; of several passes, each has groups of similar size."""
        groups = trained_P.nonzero().squeeze(1).tolist()
        size = self.config.groups_per_pass or len(groups)
        if size < len(groups):
            lengths = (sampled.rollouts.sizes_B.view_as(counted_PG) * counted_PG).sum(dim=1)
            widths = [
                len(p) + int(n) for p, n in zip(sampled.rollouts.prompts, lengths, strict=True)
            ]
            groups.sort(key=lambda group: (widths[group], group))
        passes = []
        for start in range(0, len(groups), size):
            batch = pack_groups(sampled.rollouts, groups[start : start + size], counted_PG)
            advantages_C = sampled.advantages_PG.flatten()[batch.members_C]
            batch = batch.to(self.policy.device)
            advantages_C = advantages_C.to(self.policy.device)
            passes.append(_Pass(batch, advantages_C, self._reference(batch)))
        return passes

    def _reference(self, batch: GroupBatch) -> Tensor | None:
        if not self.objective.uses_reference:
            return None
        with self.policy.reference(), torch.no_grad():
            return completion_logprobs(self.policy, batch, self.config.sampling.temperature)[0]

    def _backward(self, each: _Pass, counts: _Counts, metrics: LearningMetrics, step: int) -> None:
        """One pass: its share of the loss, and the gradient of that."""
        batch, config = each.batch, self.config
        logprobs_K, entropy_K = completion_logprobs(self.policy, batch, config.sampling.temperature)
        if each.old_K is None:
            each.old_K = logprobs_K.detach()
            metrics.add_gap(each.old_K, batch.sampler_logprobs_K)
        correction_K = None
        if config.sampler_correction is not None:
            correction_K = truncated_correction(
                each.old_K, batch.sampler_logprobs_K, config.sampler_correction
            )
        output = self.objective.loss(
            LossInput(
                logprobs_K=logprobs_K,
                old_logprobs_K=each.old_K,
                reference_logprobs_K=each.reference_K,
                correction_K=correction_K,
                advantages_C=each.advantages_C,
                completion_K=batch.completion_K,
                lengths_C=batch.lengths_C,
                n_completions=counts.completions,
                n_tokens=counts.tokens,
                max_tokens=config.sampling.longest,
            )
        )
        loss = output.loss.item()
        if not math.isfinite(loss):
            raise NotFinite(place=f"step {step}", expected="a finite loss", actual=str(loss))
        output.loss.backward()  # type: ignore[no-untyped-call]
        means = {**output.metrics, "entropy": entropy_K.mean().item()}
        metrics.add_pass(logprobs_K.detach(), each.old_K, means, loss)
