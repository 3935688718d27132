"""Conversations with the customer's ``Environment``, in the evaluator's process.

Each conversation has an environment of its own. Its answers are converted here, so that an honest
mistake is reported by its line; the enclave checks the form again.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

import msgspec

from strongroom.enclave.evaluator.messages import MAX_TURN_BYTES, Kind, Opened, Turned, frame
from strongroom.trainer.data.chat import Message, RecordFault, check_messages, check_turn
from strongroom.trainer.rollouts.evaluators import Job, Reply, Turn

_Answer = TypeVar("_Answer", Opened, Turned)


class TurnRefused(Exception):
    """What an environment returned is not a turn; ``kind`` is one of ``Failed``."""

    def __init__(self, kind: Kind = "turn_invalid") -> None:
        self.kind = kind


@dataclass
class _Episode:
    environment: Any
    reward: float = 0.0
    metrics: dict[str, Any] = field(default_factory=dict)


class Episodes:
    """The conversations of one :class:`Reset`, by number."""

    def __init__(
        self, make: Callable[[], Any], metrics: Collection[str], number: Callable[[Any], float]
    ) -> None:
        """``make`` makes an environment; ``number`` checks what it returns as a reward."""
        self._make = make
        self._metrics = frozenset(metrics)
        self._number = number
        self._begun: dict[int, _Episode] = {}
        self.scores = True
        """Whether steps are rewarded; otherwise the file has another way to score."""

    def clear(self) -> None:
        """Drop all conversations."""
        self._begun.clear()

    def reset(self, job: Job) -> Opened:
        """Begin the conversation of ``job``."""
        episode = _Episode(self._make())
        self._begun[job.episode] = episode
        found = episode.environment.reset(job.messages, job.ground_truth, **job.extra)
        if found is None:
            return Opened(None)
        return _bounded(Opened(_messages(found, check_messages)))

    def step(self, reply: Reply) -> Turned:
        """The environment's answer to the model's reply."""
        episode = self._begun[reply.episode]
        found = episode.environment.step(reply.text)
        if not isinstance(found, Mapping) or not isinstance(found.get("done"), bool):
            raise TurnRefused()
        given = set(found) - {"messages", "done"}
        if given and not self.scores:
            raise TurnRefused("ambiguous")
        if not given <= {"reward", *self._metrics}:
            raise TurnRefused("undeclared")
        if "reward" in found:
            episode.reward += self._number(found["reward"])
        episode.metrics.update({name: found[name] for name in given - {"reward"}})
        if found["done"]:
            return Turned(Turn(messages=(), done=True))
        messages = _messages(found.get("messages"), check_turn)
        return _bounded(Turned(Turn(messages=messages, done=False)))

    def result(self, job: Job) -> dict[str, Any]:
        """A conversation's sum of rewards and latest metrics, as ``evaluate`` would return them."""
        episode = self._begun[job.episode]
        return {**episode.metrics, "score": episode.reward}


def _messages(found: Any, check: Callable[[Sequence[Message]], None]) -> tuple[Message, ...]:
    try:
        messages = msgspec.convert(found, tuple[Message, ...])
        check(messages)
    except (msgspec.ValidationError, RecordFault):
        raise TurnRefused() from None
    return messages


def _bounded(answer: _Answer) -> _Answer:
    if len(frame(answer)) > MAX_TURN_BYTES:
        raise TurnRefused()
    return answer
