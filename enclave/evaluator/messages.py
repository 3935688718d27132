"""What the enclave and its evaluator process send each other, and how it is framed.

A frame is four bytes of length, little-endian, and that much JSON. The enclave sends one
:class:`Source`, then batches of jobs. The evaluator sends one :class:`Ready` before any customer
code runs; after that, for each request, one :class:`Loaded` or as many :class:`Row` as there were
jobs, ended early by a :class:`Failed`. A file with an environment also gets :class:`Reset`,
answered by as many :class:`Opened`, and :class:`Step`, answered by as many :class:`Turned`.
:class:`Probe` is answered by another :class:`Ready`.

After ``Ready`` the answers are hostile: the customer's code shares that process and may write
anything. Each message is therefore numbers, and a kind and a class name out of fixed sets; an
environment's messages are text of bounded length, which goes to the model and stays inside.
"""

from __future__ import annotations

import builtins
from typing import Literal

import msgspec

from strongroom.trainer.data.chat import Message
from strongroom.trainer.rollouts.evaluators import Job, Reply, Turn

MAX_SOURCE_BYTES = 1 << 20
MAX_BATCH_BYTES = 64 << 20
MAX_ANSWER_BYTES = 64 << 10
"""Of one answer: a score and some declared metrics fit many times over."""
MAX_TURN_BYTES = 1 << 20
"""Of one answer with an environment's messages."""

FILE = "evaluator.py"
"""The name under which the customer's source is compiled."""

BUILTIN_EXCEPTIONS = frozenset(
    name
    for name, value in vars(builtins).items()
    if isinstance(value, type) and issubclass(value, BaseException)
)

Kind = Literal[
    "syntax",
    "missing",
    "ambiguous",
    "no_environment",
    "unused_environment",
    "raised",
    "forbidden",
    "late",
    "invalid",
    "not_finite",
    "out_of_range",
    "undeclared",
    "turn_invalid",
]


class Source(msgspec.Struct, frozen=True, tag="source"):
    """The customer's file and the names of the metrics that the plan declares."""

    text: bytes
    metrics: list[str]
    environment: bool = False
    """Whether the run has conversations of several turns, which need an environment."""
    score_range: tuple[float, float] | None = None
    """The lowest and highest score that is allowed."""
    concurrency: int = 1
    """How many calls of an asynchronous function run at a time."""


class Batch(msgspec.Struct, frozen=True, tag="batch"):
    """Jobs to score, in order."""

    jobs: list[Job]


class Reset(msgspec.Struct, frozen=True, tag="reset"):
    """Begin a conversation for each job, in order; earlier ones are over."""

    jobs: list[Job]


class Step(msgspec.Struct, frozen=True, tag="step"):
    """The model's completions in some of the conversations."""

    replies: list[Reply]


class Probe(msgspec.Struct, frozen=True, tag="probe"):
    """Try what the last stage refuses; only for a process that will load nothing."""


class Ready(msgspec.Struct, frozen=True, tag="ready", forbid_unknown_fields=True):
    """The results of probes: of the confined process, or of one in its last stage."""

    probes: dict[str, str]


class Loaded(msgspec.Struct, frozen=True, tag="loaded", forbid_unknown_fields=True):
    """The source defines one way to score."""

    line: int = 0
    """Where the function that scores begins; 0 when unknown."""
    by_group: bool = False
    """Whether one call scores all completions of a row."""


class Row(msgspec.Struct, frozen=True, tag="row", forbid_unknown_fields=True):
    """The next job's score. ``values`` are the metrics, by position in ``Source.metrics``."""

    score: float
    values: list[float | None]


class Opened(msgspec.Struct, frozen=True, tag="opened", forbid_unknown_fields=True):
    """The next conversation's first messages; ``None`` for those of its row."""

    messages: tuple[Message, ...] | None


class Turned(msgspec.Struct, frozen=True, tag="turned", forbid_unknown_fields=True):
    """The environment's answer to the next reply."""

    turn: Turn


class Failed(msgspec.Struct, frozen=True, tag="failed", forbid_unknown_fields=True):
    """The load or the next job failed. ``line`` and ``column`` are 0 when unknown."""

    kind: Kind
    line: int = 0
    column: int = 0
    exception: str = ""
    """The nearest built-in class of the exception raised, for kind ``raised``."""


Request = Source | Batch | Reset | Step | Probe
Answer = Ready | Loaded | Row | Opened | Turned | Failed


def frame(message: Request | Answer) -> bytes:
    """The message with its length before it."""
    body = msgspec.json.encode(message)
    return len(body).to_bytes(4, "little") + body
