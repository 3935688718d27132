"""The training loop. ``trainer/__init__.py`` is the map of a step; each line of it is called here.

The loop knows no method and no engine by name, and takes all randomness from the state's generator:
the same policy, rows, evaluator answers, configuration and state give the same bytes, on the same
machine with the same number of threads.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from strongroom.trainer.checkpoints.checkpoint import Checkpoint, save
from strongroom.trainer.config import TrainingConfig
from strongroom.trainer.data.rows import Rows
from strongroom.trainer.engines import build_engine
from strongroom.trainer.errors import RowsMissing
from strongroom.trainer.losses import build_objective
from strongroom.trainer.model.lora import Policy
from strongroom.trainer.rollouts.evaluators import Evaluator
from strongroom.trainer.rollouts.scoring import ScoredRollout, scored_rollouts
from strongroom.trainer.steps.learning import Learner
from strongroom.trainer.steps.metrics import StepMetrics, rollout_metrics
from strongroom.trainer.steps.sampling import Sampled, StepSampler
from strongroom.trainer.steps.state import TrainingState


def train(
    policy: Policy,
    rows: Rows,
    evaluator: Evaluator,
    config: TrainingConfig,
    state: TrainingState,
    on_step: Callable[[StepMetrics], None] = lambda _: None,
    on_checkpoint: Callable[[Checkpoint], None] = lambda _: None,
    on_rollouts: Callable[[Sequence[ScoredRollout]], None] = lambda _: None,
    until: int | None = None,
) -> None:
    """Train ``policy`` from ``state.step`` to ``until`` (``config.steps`` for None), in place.

    ``rows`` may hold only those that ``schedule.needed_rows`` names. Each step calls
    ``on_rollouts`` with every completion, then ``on_step`` with the metrics, then ``on_checkpoint``
    with a checkpoint where one is due. Raises ``SR-TRAIN-008`` to ``-010``, and what the evaluator
    and the callbacks raise.
    """
    if not len(rows):
        raise RowsMissing(place="training rows")
    objective = build_objective(config.method, config.sampling.longest)
    engine = build_engine(config.engine, policy)
    sampler = StepSampler(policy, rows, evaluator, engine, objective, config)
    learner = Learner(policy, objective, config)
    last = config.steps if until is None else until
    while state.step < last:
        sampled = sampler.sample(state)
        started = time.perf_counter()
        learned = learner.learn(sampled, state)
        seconds_learn = time.perf_counter() - started
        state.step += 1
        on_rollouts(_scored(sampled, state.step))
        on_step(_metrics(sampled, learned, seconds_learn, state.step))
        if state.step % config.checkpoint_every == 0 or state.step == config.steps:
            on_checkpoint(save(policy, state, config))


def _scored(sampled: Sampled, step: int) -> list[ScoredRollout]:
    return scored_rollouts(step, sampled.indices, sampled.rows, sampled.rollouts, sampled.scores)


def _metrics(
    sampled: Sampled, learned: dict[str, float], seconds_learn: float, step: int
) -> StepMetrics:
    tokens = int(sampled.rollouts.lengths_B.sum())
    values = {
        **rollout_metrics(sampled.rollouts, sampled.rewards_PG, sampled.scores),
        **learned,
        "tokens_per_second": tokens / sampled.seconds_rollout,
        "seconds_rollout": sampled.seconds_rollout,
        "seconds_score": sampled.seconds_score,
        "seconds_learn": seconds_learn,
    }
    return StepMetrics(step=step, values=values)
