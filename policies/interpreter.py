"""The process that runs a bundle's rules on one plan, see :mod:`policies.asking`."""

from __future__ import annotations

import resource
import sys
from contextlib import suppress
from functools import lru_cache
from typing import Any

import msgspec
from regopy import Interpreter, LogLevel, RegoError

from strongroom.policies.asking import TIMEOUT_S, Answer, Denial, Refusal, Request

_ADMISSION = "strongroom/admission"
_QUESTIONS = ("verdict", "denied", "refused_waivers")


def answer(request: Request) -> Answer:
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
            denied=self._texts("denied", Denial),
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
    sys.stdout.buffer.write(msgspec.json.encode(answer(request)))
