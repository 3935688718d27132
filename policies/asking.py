"""What the gate asks of a bundle's rules on one plan, and the process that answers.

The rules run in native code (rego-cpp). A process that crashes, hangs or answers nonsense must
deny and never take the gate with it: so the gate starts one (:mod:`policies.interpreter`), and
reads one JSON answer from it. No other process loads that code, whose allocator reserves 256 GiB.

What decides (``verdict``) is asked for apart from what explains
(``denied``): explanations hold text from the plan, and rego-cpp 1.5.2 does not escape every string
that its built-ins return, so plan text could otherwise forge parts of the answer. An explanation
that cannot be read is dropped, and the gate says so with a text of its own.
"""

from __future__ import annotations

from subprocess import TimeoutExpired

import msgspec

from strongroom.isolated.compiled import compiled_set
from strongroom.isolated.start import run

TIMEOUT_S = 30


class Request(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Rules by file name, and their documents ``data`` and ``input`` as JSON text."""

    modules: dict[str, str]
    data: str
    input: str


class Denial(msgspec.Struct, frozen=True, kw_only=True):
    """Why one rule does not pass. ``path`` is a path in the run file: ``spec.access.0.ttl``."""

    rule: str
    control: str
    path: str
    expected: str
    actual: str
    fix: str


class Refusal(msgspec.Struct, frozen=True, kw_only=True):
    """Why a waiver does not count."""

    rule: str
    reason: str


class Answer(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What the rules say. ``waived`` holds indexes into the run file's waivers."""

    allow: bool = False
    passed: tuple[str, ...] = ()
    explained: tuple[str, ...] = ()
    waived: tuple[int, ...] = ()
    denied: tuple[Denial, ...] = ()
    refused_waivers: tuple[Refusal, ...] = ()
    error: str = ""


def ask(request: Request) -> Answer:
    """Run the rules in a process of its own. Crash, timeout and nonsense become ``error``.

    Raises ``CodeRefused``.
    """
    try:
        done = run(
            "strongroom.policies.interpreter",
            environment={},
            given=msgspec.json.encode(request),
            timeout_s=TIMEOUT_S,
            measured=compiled_set(),
        )
    except TimeoutExpired:
        return Answer(error=f"the rules took more than {TIMEOUT_S} s")
    if done.returncode != 0:
        return Answer(error=f"the rules' interpreter ended with status {done.returncode}")
    try:
        return msgspec.json.decode(done.stdout, type=Answer)
    except msgspec.DecodeError:
        return Answer(error="the rules' interpreter gave no readable answer")
