"""What the enclave and its evaluator process say to each other, and how it is framed.

A frame is four bytes of length, little-endian, and that much JSON. Downwards come one
:class:`Source`, then batches of jobs. Upwards comes one :class:`Ready` before any customer code
runs; after that, for each request, one :class:`Loaded` or as many :class:`Row` as there were jobs,
ended early by a :class:`Failed`. A file with an environment is also asked to :class:`Reset`, which
as many :class:`Opened` answer, and to :class:`Step`, with as many :class:`Turned`.

After ``Ready`` the upward side is hostile: the customer's code shares that process and may write
what it likes. Each message is therefore numbers, and a kind and a class name out of fixed sets; an
environment's messages are text, of bounded length, which goes to the model and stays inside.
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
"""Of one upward frame: a score and some declared metrics fit many times over."""
MAX_TURN_BYTES = 1 << 20
"""Of one upward frame with what an environment says."""

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
    """Whether the run has conversations of several turns, for which it needs an environment."""
    score_range: tuple[float, float] | None = None
    """Lowest and highest score that count."""
    concurrency: int = 1
    """How many calls of an asynchronous function run at a time."""


class Batch(msgspec.Struct, frozen=True, tag="batch"):
    """Jobs to score, in order."""

    jobs: list[Job]


class Reset(msgspec.Struct, frozen=True, tag="reset"):
    """Begin a conversation for each job, in order; those begun before are over."""

    jobs: list[Job]


class Step(msgspec.Struct, frozen=True, tag="step"):
    """What the model said in some of the conversations."""

    replies: list[Reply]


class Ready(msgspec.Struct, frozen=True, tag="ready", forbid_unknown_fields=True):
    """The process is confined; what its probes saw."""

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
    """What the next conversation begins with; ``None``: with its row's messages."""

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


Request = Source | Batch | Reset | Step
Answer = Ready | Loaded | Row | Opened | Turned | Failed


def frame(message: Request | Answer) -> bytes:
    """The message with its length before it."""
    body = msgspec.json.encode(message)
    return len(body).to_bytes(4, "little") + body
