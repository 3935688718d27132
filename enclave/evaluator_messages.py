"""What the enclave and its evaluator process say to each other, and how it is framed.

A frame is four bytes of length, little-endian, and that much JSON. Downwards come one
:class:`Source`, then batches of jobs. Upwards comes one :class:`Ready` before any customer code
runs; after that, for each request, one :class:`Loaded` or as many :class:`Row` as there were jobs,
ended early by a :class:`Failed`.

After ``Ready`` the upward side is hostile: the customer's code shares that process and may write
what it likes. Each message is therefore numbers, and a kind and a class name out of fixed sets.
"""

from __future__ import annotations

import builtins
from typing import Literal

import msgspec

from trainer.evaluators import Job

MAX_SOURCE_BYTES = 1 << 20
MAX_BATCH_BYTES = 64 << 20
MAX_ANSWER_BYTES = 64 << 10
"""Of one upward frame: a score and some declared metrics fit many times over."""

FILE = "evaluator.py"
"""The name under which the customer's source is compiled."""

BUILTIN_EXCEPTIONS = frozenset(
    name
    for name, value in vars(builtins).items()
    if isinstance(value, type) and issubclass(value, BaseException)
)

Kind = Literal[
    "syntax", "missing", "ambiguous", "raised", "forbidden", "invalid", "not_finite", "undeclared"
]


class Source(msgspec.Struct, frozen=True, tag="source"):
    """The customer's file and the names of the metrics that the plan declares."""

    text: bytes
    metrics: list[str]


class Batch(msgspec.Struct, frozen=True, tag="batch"):
    """Jobs to score, in order."""

    jobs: list[Job]


class Ready(msgspec.Struct, frozen=True, tag="ready", forbid_unknown_fields=True):
    """The process is confined; what its probes saw."""

    probes: dict[str, str]


class Loaded(msgspec.Struct, frozen=True, tag="loaded", forbid_unknown_fields=True):
    """The source defines one way to score."""


class Row(msgspec.Struct, frozen=True, tag="row", forbid_unknown_fields=True):
    """The next job's score. ``values`` are the metrics, by position in ``Source.metrics``."""

    score: float
    values: list[float | None]


class Failed(msgspec.Struct, frozen=True, tag="failed", forbid_unknown_fields=True):
    """The load or the next job failed. ``line`` and ``column`` are 0 when unknown."""

    kind: Kind
    line: int = 0
    column: int = 0
    exception: str = ""
    """The nearest built-in class of the exception raised, for kind ``raised``."""


Request = Source | Batch
Answer = Ready | Loaded | Row | Failed


def frame(message: Request | Answer) -> bytes:
    """The message with its length before it."""
    body = msgspec.json.encode(message)
    return len(body).to_bytes(4, "little") + body
