"""Greedy evaluation on rows that are not trained on."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import msgspec

from strongroom.trainer.config import TrainingConfig
from strongroom.trainer.data.rows import Rows
from strongroom.trainer.engines import build_engine
from strongroom.trainer.errors import RowsMissing
from strongroom.trainer.model.lora import Policy
from strongroom.trainer.rollouts.conversations import Conversations
from strongroom.trainer.rollouts.evaluators import Evaluator, Score
from strongroom.trainer.rollouts.scoring import ScoredRollout, score_rollouts, scored_rollouts
from strongroom.trainer.steps.metrics import mean_metrics


class Evaluation(msgspec.Struct, frozen=True, kw_only=True):
    """How well the policy does."""

    rows: int
    score_mean: float
    metrics: dict[str, float]
    """Mean of each of the evaluator's metrics, by its own name."""


def evaluate(
    policy: Policy,
    rows: Rows,
    evaluator: Evaluator,
    config: TrainingConfig,
    batch: int = 50,
    on_rollouts: Callable[[Sequence[ScoredRollout]], None] = lambda _: None,
) -> Evaluation:
    """Answer each row once, taking the likeliest token each time, and average the scores.

    ``batch`` rows are answered at once; ``on_rollouts`` is called with each batch (step 0). Changes
    nothing and draws no random number. Raises :class:`RowsMissing`, :class:`EvaluatorMisbehaved`.
    """
    if not len(rows):
        raise RowsMissing(place="held-out rows")
    engine = build_engine(config.engine, policy)
    conversations = Conversations(policy, engine, evaluator, config)
    scores: list[Score] = []
    for start in range(0, len(rows), batch):
        indices = range(start, min(start + batch, len(rows)))
        chunk, rollouts = conversations.hold(
            indices, [rows[index] for index in indices], 1, 0.0, None
        )
        chunk_scores = score_rollouts(evaluator, indices, chunk, rollouts)
        on_rollouts(scored_rollouts(0, indices, chunk, rollouts, chunk_scores))
        scores.extend(chunk_scores)
    return Evaluation(
        rows=len(scores),
        score_mean=sum(score.score for score in scores) / len(scores),
        metrics=mean_metrics(scores),
    )
