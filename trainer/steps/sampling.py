"""The first half of a step: completions of its rows, their scores and advantages."""

# Field names carry their shapes.
# ruff: noqa: N815
from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from strongroom.trainer.config import TrainingConfig
from strongroom.trainer.data.rows import Row, Rows
from strongroom.trainer.losses.advantages import equal_groups
from strongroom.trainer.losses.objective import Objective
from strongroom.trainer.model.lora import Policy
from strongroom.trainer.rollouts.conversations import Conversations
from strongroom.trainer.rollouts.evaluators import Evaluator, Score
from strongroom.trainer.rollouts.rollout import Engine, Rollouts, joined
from strongroom.trainer.rollouts.scoring import score_rollouts
from strongroom.trainer.steps.schedule import row_indices
from strongroom.trainer.steps.state import TrainingState


@dataclass(frozen=True)
class Sampled:
    """P groups of G completions each."""

    indices: list[int]
    """The groups' rows in the data set."""
    rows: list[Row]
    """Those rows, with the messages of their prompts."""
    rollouts: Rollouts
    scores: list[Score]
    rewards_PG: Tensor
    """Float64."""
    advantages_PG: Tensor
    """Float32; a group of equal rewards has exactly 0 throughout."""
    seconds_rollout: float
    seconds_score: float

    @property
    def differing_P(self) -> Tensor:
        """Which groups have any advantage, bool."""
        return self.advantages_PG.ne(0).any(dim=1)

    def counted_PG(self, objective: Objective) -> Tensor:
        """Which completions count in the loss, bool."""
        cut_off_B = ~self.rollouts.finished_B & objective.masks_truncated
        return (~cut_off_B).view_as(self.rewards_PG)

    def informative_P(self, objective: Objective) -> Tensor:
        """Which groups need no replacement, bool: the evaluator gave their completions different
        scores, and one of them counts. A penalty for length alone does not make one informative.
        """
        return ~equal_groups(self.rewards_PG) & self.counted_PG(objective).any(dim=1)


@dataclass(frozen=True)
class StepSampler:
    """Samples the groups of a step."""

    policy: Policy
    rows: Rows
    evaluator: Evaluator
    engine: Engine
    objective: Objective
    config: TrainingConfig

    def sample(self, state: TrainingState) -> Sampled:
        """Completions of the step's rows; where the objective refills, of further rows in place of
        groups that are not informative.

        Raises :class:`EvaluatorMisbehaved` and whatever the evaluator raises.
        """
        rounds: list[Sampled] = []
        missing = self.config.prompts_per_step
        for _ in range(1 + self.objective.refills):
            rounds.append(self._round(state, missing))
            missing -= int(rounds[-1].informative_P(self.objective).sum())
            if not missing:
                break
        return _together(rounds)

    def _round(self, state: TrainingState, count: int) -> Sampled:
        started = time.perf_counter()
        config = self.config
        indices = row_indices(state.rows_taken, count, len(self.rows), config.seed)
        state.rows_taken += count
        rows, rollouts = Conversations(self.policy, self.engine, self.evaluator, config).hold(
            indices,
            [self.rows[index] for index in indices],
            config.samples_per_prompt,
            config.sampling.temperature,
            state.generator,
        )
        answered = time.perf_counter()
        scores = score_rollouts(self.evaluator, indices, rows, rollouts)
        rewards = torch.tensor([score.score for score in scores], dtype=torch.float64)
        rewards_PG = rewards.view(count, rollouts.samples)
        return Sampled(
            indices=indices,
            rows=rows,
            rollouts=rollouts,
            scores=scores,
            rewards_PG=rewards_PG,
            advantages_PG=self.objective.advantages(
                rewards_PG, rollouts.lengths_B.view_as(rewards_PG)
            ),
            seconds_rollout=answered - started,
            seconds_score=time.perf_counter() - answered,
        )


def _together(rounds: Sequence[Sampled]) -> Sampled:
    if len(rounds) == 1:
        return rounds[0]
    return Sampled(
        indices=[index for each in rounds for index in each.indices],
        rows=[row for each in rounds for row in each.rows],
        rollouts=joined([each.rollouts for each in rounds]),
        scores=[score for each in rounds for score in each.scores],
        rewards_PG=torch.cat([each.rewards_PG for each in rounds]),
        advantages_PG=torch.cat([each.advantages_PG for each in rounds]),
        seconds_rollout=sum(each.seconds_rollout for each in rounds),
        seconds_score=sum(each.seconds_score for each in rounds),
    )
