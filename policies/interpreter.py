"""Runs a bundle's rules on one plan, in a process of its own.

The rules run in native code (rego-cpp). A process that crashes, hangs or answers nonsense must
deny and never take the gate with it: so the gate starts it, and reads one JSON answer from it.

What decides (``verdict``) is asked for apart from what explains
(``denied``): explanations hold text from the plan, and rego-cpp 1.5.2 does not escape every string
that its built-ins return, so plan text could otherwise forge parts of the answer. An explanation
that cannot be read is dropped, and the gate says so with a text of its own.
"""

from __future__ import annotations

import resource
import sys
from contextlib import suppress
from functools import lru_cache
from subprocess import TimeoutExpired
from typing import Any

import msgspec
from regopy import Interpreter, LogLevel, RegoError

from strongroom.isolated.compiled import compiled_set
from strongroom.isolated.start import run

TIMEOUT_S = 30
_ADMISSION = "strongroom/admission"
_QUESTIONS = ("verdict", "denied", "refused_waivers")


class Request(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Rules by file name, and their documents ``data`` and ``input`` as JSON text."""

    modules: dict[str, str]
    data: str
    input: str


class Reason(msgspec.Struct, frozen=True, kw_only=True):
    """One denial as a rule gives it."""

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
    denied: tuple[Reason, ...] = ()
    refused_waivers: tuple[Refusal, ...] = ()
    error: str = ""


def ask_apart(request: Request) -> Answer:
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


def ask_here(request: Request) -> Answer:
    """Run the rules in this process; the last few bundles stay compiled."""
    try:
        rules = _compiled(tuple(request.modules.items()), request.data)
    except (RegoError, ValueError) as error:
        return Answer(error=_place(request.modules, str(error)) or type(error).__name__)
    return rules.answer(request.input)


@lru_cache(maxsize=8)
def _compiled(modules: tuple[tuple[str, str], ...], data: str) -> Rules:
    return Rules(dict(modules), data)


class Rules:
    """Compiled rules with their data, for any number of inputs.

    Raises ``RegoError`` when the rules do not compile.
    """

    def __init__(self, modules: dict[str, str], data: str) -> None:
        self._modules = modules
        self._rego = Interpreter()
        self._rego.log_level = LogLevel.NONE
        for name, text in modules.items():
            self._rego.add_module(name, text)
        self._rego.add_data_json(data)
        entries = [f"{_ADMISSION}/{name}" for name in _QUESTIONS]
        self._compiled = self._rego.build(None, entries)

    def answer(self, document: str) -> Answer:
        """The answer for one ``input`` document, as JSON text."""
        try:
            self._rego.set_input_term(document)
            decided = msgspec.convert(self._value("verdict"), Answer)
        except (RegoError, msgspec.ValidationError, LookupError, ValueError) as error:
            return Answer(error=_place(self._modules, str(error)) or type(error).__name__)
        return msgspec.structs.replace(
            decided,
            denied=self._texts("denied", Reason),
            refused_waivers=self._texts("refused_waivers", Refusal),
        )

    def _value(self, name: str) -> Any:
        output = self._rego.query_bundle_entrypoint(self._compiled, f"{_ADMISSION}/{name}")
        return output[0].expressions[0]

    def _texts(self, name: str, shape: Any) -> Any:
        found = []
        try:
            for item in self._value(name):
                with suppress(msgspec.ValidationError):
                    found.append(msgspec.convert(item, shape))
        except (RegoError, LookupError, ValueError, TypeError):
            return ()
        return tuple(found)


def _place(modules: dict[str, str], message: str) -> str:
    """``lib.rego:59:15``; rego-cpp names a module and an offset: ``8:lib.rego|1345|54``."""
    for name, text in modules.items():
        _, found, rest = message.partition(f":{name}|")
        offset = rest.partition("|")[0]
        if found and offset.isdigit():
            before = text.encode()[: int(offset)]
            column = len(before) - before.rfind(b"\n")
            return f"{name}:{before.count(10) + 1}:{column}"
    return ""


def main() -> None:
    """Answer one request from stdin on stdout."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    # No limit on address space: rego-cpp's allocator reserves far more than it uses.
    resource.setrlimit(resource.RLIMIT_CPU, (TIMEOUT_S, TIMEOUT_S))
    request = msgspec.json.decode(sys.stdin.buffer.read(), type=Request)
    answer = ask_here(request)
    sys.stdout.buffer.write(msgspec.json.encode(answer))
