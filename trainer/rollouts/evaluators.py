"""What the trainer asks of an evaluator: one score per finished conversation.

The trainer never imports a customer's code. It sends :class:`Job` records to an :class:`Evaluator`
and gets :class:`Score` records back, in the same order. In the enclave that is a separate process;
in tests it is a plain function (:class:`FunctionEvaluator`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

import msgspec

from strongroom.trainer.data.chat import Message
from strongroom.trainer.data.plaintext import Plaintext

MAX_SCORE = 1e9
"""Largest score or metric, either way: sums and squares of such stay far inside what a number
holds, and their means inside what may leave an enclave."""


class Job(Plaintext, msgspec.Struct, frozen=True, kw_only=True):
    """One completion to score."""

    messages: list[dict[str, Any]]
    """The prompt's messages followed by the assistant's completion (see ``trainer.data.chat``)."""
    ground_truth: Any = None
    """The row's ``ground_truth`` column: any JSON value, or ``None`` when the row has none."""
    extra: dict[str, Any] = {}
    """The row's other columns, passed to the evaluator as keyword arguments."""
    row: int = 0
    """Index of the row in its dataset, for errors."""
    group: int = 0
    """Completions of one row are next to each other and have the same number."""
    episode: int = 0
    """Number of this conversation among those of the same :meth:`Environment.reset`."""


class Score(msgspec.Struct, frozen=True, kw_only=True):
    """An evaluator's result for one job."""

    score: float
    """The reward: finite, within the range that the run file declares, if it declares one."""
    metrics: dict[str, float] = {}
    """Further finite numbers by name, such as ``accuracy``; never part of the reward."""


class Evaluator(Protocol):
    """Scores completions; must be deterministic for a run to be repeatable."""

    def score(self, jobs: Sequence[Job]) -> list[Score]:
        """One score for each job, in the order of ``jobs``. May raise; the step then fails."""


class Reply(Plaintext, msgspec.Struct, frozen=True, kw_only=True):
    """The model's latest completion in one conversation."""

    episode: int
    text: str
    row: int = 0
    """Index of the conversation's row in its dataset, for errors."""


class Turn(Plaintext, msgspec.Struct, frozen=True, kw_only=True):
    """An environment's answer to a reply."""

    messages: tuple[Message, ...]
    """Messages for the model, as ``trainer.data.chat.check_turn`` allows; ignored if ``done``."""
    done: bool
    """Whether the conversation is over."""


@runtime_checkable
class Environment(Evaluator, Protocol):
    """The other side of conversations of several turns; scores them, too."""

    def reset(self, jobs: Sequence[Job]) -> list[tuple[Message, ...] | None]:
        """Begin a conversation for each job; all that were begun before are over.

        Returns the messages that each begins with, ``None`` for those of its job. May raise.
        """

    def step(self, replies: Sequence[Reply]) -> list[Turn]:
        """One turn for each reply, in order. May raise."""


class FunctionEvaluator:
    """Runs a customer's ``evaluate(messages, ground_truth, **row)`` in this process.

    ``function`` returns a mapping with ``score`` and any other metrics. There is neither isolation
    nor a time limit: it is for tests and benches.
    """

    def __init__(self, function: Callable[..., Mapping[str, float]]) -> None:
        self._function = function

    def score(self, jobs: Sequence[Job]) -> list[Score]:
        """One score per job; a bad return value raises ``TypeError`` or ``KeyError``."""
        scores = []
        for job in jobs:
            result = dict(self._function(job.messages, job.ground_truth, **job.extra))
            score = float(result.pop("score"))
            scores.append(Score(score=score, metrics={k: float(v) for k, v in result.items()}))
        return scores
