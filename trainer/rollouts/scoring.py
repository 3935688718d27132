"""Completions to an evaluator's jobs, and its scores, which must be finite, one per completion."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from strongroom.trainer.data.plaintext import Plaintext
from strongroom.trainer.data.rows import Row
from strongroom.trainer.errors import EvaluatorMisbehaved
from strongroom.trainer.rollouts.evaluators import MAX_SCORE, Evaluator, Job, Score
from strongroom.trainer.rollouts.rollout import Rollouts


class ScoredRollout(Plaintext, msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One completion, for the key's holder to read later. Plaintext: it leaves only sealed."""

    step: int
    """The step that sampled it, from 1; 0 for an evaluation."""
    row: int
    """Index of its row in the dataset."""
    messages: list[dict[str, Any]]
    completion: str
    tokens: int
    score: float
    metrics: dict[str, float]
    said: int = 0
    """How many of the last messages are not the prompt's but the conversation's."""


def score_rollouts(
    evaluator: Evaluator, indices: Sequence[int], rows: Sequence[Row], rollouts: Rollouts
) -> list[Score]:
    """Score all completions; ``indices`` and ``rows`` are those of the prompts, in order.

    Raises :class:`EvaluatorMisbehaved` for a wrong number of scores or one that is not finite.
    """
    jobs = scoring_jobs(indices, rows, rollouts)
    scores = evaluator.score(jobs)
    if len(scores) != len(jobs):
        raise EvaluatorMisbehaved(expected=f"{len(jobs)} scores", actual=str(len(scores)))
    for score in scores:
        if not all(abs(value) <= MAX_SCORE for value in (score.score, *score.metrics.values())):
            raise EvaluatorMisbehaved(expected="finite numbers", actual="NaN or infinity")
    return scores


def scoring_jobs(indices: Sequence[int], rows: Sequence[Row], rollouts: Rollouts) -> list[Job]:
    """The evaluator's job for each completion; arguments as in ``score_rollouts``."""
    return [
        Job(
            messages=[
                *rows[b // rollouts.samples].chat(),
                *(message.plain() for message in rollouts.messages_between(b)),
                {"role": "assistant", "content": text},
            ],
            ground_truth=rows[b // rollouts.samples].ground_truth,
            extra=rows[b // rollouts.samples].extra,
            row=indices[b // rollouts.samples],
            group=b // rollouts.samples,
            episode=b,
        )
        for b, text in enumerate(rollouts.texts)
    ]


def scored_rollouts(
    step: int,
    indices: Sequence[int],
    rows: Sequence[Row],
    rollouts: Rollouts,
    scores: Sequence[Score],
) -> list[ScoredRollout]:
    """Completions with their scores; ``indices`` and ``rows`` are those of the prompts."""
    lengths = rollouts.lengths_B.tolist()
    return [
        ScoredRollout(
            step=step,
            row=indices[b // rollouts.samples],
            messages=[
                *rows[b // rollouts.samples].chat(),
                *(message.plain() for message in rollouts.messages_between(b)),
            ],
            completion=text,
            tokens=lengths[b],
            score=scores[b].score,
            metrics=scores[b].metrics,
            said=len(rollouts.messages_between(b)),
        )
        for b, text in enumerate(rollouts.texts)
    ]
