"""The training loop: rollouts, advantages, batch, loss, step, checkpoint.

It knows no method and no engine by name, opens no file and no socket, and draws all randomness
from the state's generator: the same policy, rows, evaluator answers, configuration and state give
the same bytes, on the same machine with the same number of threads.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from trainer.advantages import equal_groups
from trainer.batch import pack_groups
from trainer.checkpoint import Checkpoint, save
from trainer.config import TrainingConfig
from trainer.engines import build_engine
from trainer.errors import NotFinite, RowsMissing
from trainer.evaluators import Evaluator
from trainer.logprobs import completion_logprobs
from trainer.lora import Policy
from trainer.losses import LossInput, Objective, build_objective
from trainer.metrics import StepMetrics, rollout_metrics, sampler_agreement
from trainer.optimizer import warmed_up
from trainer.prompts import encode_prompt
from trainer.rollout import Engine, Rollouts
from trainer.rows import Row, Rows
from trainer.schedule import row_indices
from trainer.scoring import ScoredRollout, score_rollouts, scored_rollouts
from trainer.state import TrainingState


def train(
    policy: Policy,
    rows: Rows,
    evaluator: Evaluator,
    config: TrainingConfig,
    state: TrainingState,
    on_step: Callable[[StepMetrics], None] = lambda _: None,
    on_checkpoint: Callable[[Checkpoint], None] = lambda _: None,
    on_rollouts: Callable[[Sequence[ScoredRollout]], None] = lambda _: None,
) -> None:
    """Train ``policy`` from ``state.step`` to ``config.steps``, in place.

    ``rows`` may hold only those that ``schedule.needed_rows`` names. In each step ``on_rollouts``
    hears of every completion, then ``on_step`` of the metrics, then ``on_checkpoint`` of a
    checkpoint where one is due. Raises ``SR-TRAIN-008`` to ``-010`` and whatever the evaluator and
    the callbacks raise.
    """
    if not len(rows):
        raise RowsMissing(place="training rows")
    learner = _Learner(
        policy=policy,
        evaluator=evaluator,
        config=config,
        state=state,
        engine=build_engine(config.engine, policy),
        objective=build_objective(config.method),
    )
    while state.step < config.steps:
        indices = row_indices(state.step, len(rows), config.prompts_per_step, config.seed)
        values, rollouts = learner.step(indices, [rows[index] for index in indices])
        on_rollouts(rollouts)
        on_step(StepMetrics(step=state.step, values=values))
        if state.step % config.checkpoint_every == 0 or state.step == config.steps:
            on_checkpoint(save(policy, state, config))


@dataclass(frozen=True)
class _Learner:
    policy: Policy
    evaluator: Evaluator
    config: TrainingConfig
    state: TrainingState
    engine: Engine
    objective: Objective

    def step(
        self, indices: Sequence[int], rows: Sequence[Row]
    ) -> tuple[dict[str, float], list[ScoredRollout]]:
        """One optimiser step; returns its metrics and completions."""
        started = time.perf_counter()
        rollouts = self.engine.generate(
            [encode_prompt(self.policy, row) for row in rows],
            self.config.samples_per_prompt,
            self.config.sampling.max_tokens,
            self.config.sampling.temperature,
            self.state.generator,
        )
        sampled = time.perf_counter()
        scores = score_rollouts(self.evaluator, rows, rollouts)
        scored = time.perf_counter()
        rewards = torch.tensor([score.score for score in scores], dtype=torch.float64)
        rewards_PG = rewards.view(len(rows), rollouts.samples)
        learned = self._learn(rollouts, rewards_PG)
        self.state.step += 1
        values = {
            **rollout_metrics(rollouts, rewards_PG, scores),
            **learned,
            "tokens_per_second": int(rollouts.lengths_B.sum()) / (sampled - started),
            "seconds_rollout": sampled - started,
            "seconds_score": scored - sampled,
            "seconds_learn": time.perf_counter() - scored,
        }
        return values, scored_rollouts(self.state.step, indices, rows, rollouts, scores)

    def _learn(self, rollouts: Rollouts, rewards_PG: Tensor) -> dict[str, float]:
        """Advantages, batch, loss, gradient, update. Nothing to learn leaves the policy alone."""
        learning_rate = warmed_up(
            self.config.learning_rate, self.state.step, self.config.warmup_steps
        )
        informative = ~equal_groups(rewards_PG) | self.objective.uses_reference
        groups = informative.nonzero().squeeze(1).tolist()
        if not groups:
            return {"learning_rate": learning_rate}
        temperature = self.config.sampling.temperature
        advantages_PG = self.objective.advantages(rewards_PG)
        batch = pack_groups(rollouts, groups)
        reference_K = None
        if self.objective.uses_reference:
            with self.policy.reference(), torch.no_grad():
                reference_K, _ = completion_logprobs(self.policy, batch, temperature)
        logprobs_K, entropy_K = completion_logprobs(self.policy, batch, temperature)
        output = self.objective.loss(
            LossInput(
                logprobs_K=logprobs_K,
                old_logprobs_K=logprobs_K.detach(),  # one update per rollout: on-policy
                reference_logprobs_K=reference_K,
                advantages_C=advantages_PG[groups].flatten(),
                completion_K=batch.completion_K,
                lengths_C=batch.lengths_C,
                n_completions=rewards_PG.numel(),
            )
        )
        loss = output.loss.item()
        if not math.isfinite(loss):
            raise NotFinite(
                place=f"step {self.state.step + 1}", expected="a finite loss", actual=str(loss)
            )
        output.loss.backward()  # type: ignore[no-untyped-call]
        return {
            **output.metrics,
            **sampler_agreement(logprobs_K.detach(), batch.sampler_logprobs_K),
            "loss": loss,
            "entropy": entropy_K.mean().item(),
            "learning_rate": learning_rate,
            "grad_norm": self.state.optimizer.step(learning_rate),
        }
