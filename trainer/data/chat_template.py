"""Chat templates: a model's own Jinja code, run within bounds, without a clock, on plain data.

They come from whoever published the model. The environment is the one that transformers gives them
(sandboxed, with ``raise_exception``, ``tojson``, loop controls and ``generation`` blocks), but for
three things. There is no ``strftime_now``: a prompt is the same on every day, as replaying and
resuming a run need; templates that ask whether it is there, as Llama's do, take the date that they
have. Loops and calls are counted, and end a template that does not. Products and powers are small.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any

import jinja2.debug  # noqa: F401 - loaded when a template fails, and then nothing can be
from jinja2 import TemplateError, TemplateSyntaxError, nodes
from jinja2.exceptions import SecurityError
from jinja2.ext import Extension, loopcontrols
from jinja2.parser import Parser
from jinja2.runtime import Context, Macro
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.utils import Namespace

MAX_TEMPLATE_CHARS = 1 << 20
MAX_STEPS = 200_000
"""Turns of loops and calls in one text."""
MAX_SECONDS = 10.0
"""For one text, which takes milliseconds: no machine is so busy that an honest one comes near."""
MAX_ITEMS = 1_000_000
"""Of a list, or characters of a text, that one operator makes."""
_MAX_BITS = 4096
_WIDE = re.compile(r"%[^a-zA-Z%]*(\d{6,}|\*)")


class TemplateEndless(TemplateError):
    """A template does not come to an end."""


def render_chat(
    source: str,
    messages: Sequence[Mapping[str, Any]],
    tools: list[dict[str, Any]] | None,
    special_tokens: Mapping[str, Any],
) -> str:
    """The chat as the template writes it, up to where the assistant begins.

    Raises ``jinja2.TemplateError``, and whatever else the template's own code raises.
    """
    environment, template = _compiled(source)
    environment.begin()
    text: str = template.render(
        messages=messages,
        tools=tools,
        documents=None,
        add_generation_prompt=True,
        **special_tokens,
    )
    return text


class _Environment(ImmutableSandboxedEnvironment):
    intercepted_binops = frozenset({"+", "*", "**", "%"})

    def __init__(self) -> None:
        extensions = [_Generation, loopcontrols]
        super().__init__(trim_blocks=True, lstrip_blocks=True, extensions=extensions)
        self._steps, self._end = 0, 0.0
        self.filters["tojson"] = _tojson
        self.filters["counted"] = self._counted
        self.globals |= {"raise_exception": _refuse, "dict": _Dict(), "namespace": _Namespace}
        del self.globals["lipsum"]

    def begin(self) -> None:
        """Count anew."""
        self._steps, self._end = 0, time.monotonic() + MAX_SECONDS

    def call(self, context: Context, called: Any, /, *args: Any, **kwargs: Any) -> Any:
        """Counted, as a macro may call itself twice."""
        self._step()
        return super().call(context, called, *args, **kwargs)

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:
        """Small results only."""
        if not _is_small(operator, left, right):
            raise TemplateEndless(f"too large a result of {operator}")
        return super().call_binop(context, operator, left, right)

    def _step(self) -> None:
        self._steps += 1
        if self._steps > MAX_STEPS or time.monotonic() > self._end:
            raise TemplateEndless("too many turns of loops and calls")

    def _counted(self, items: Iterable[Any]) -> Iterator[Any]:
        for item in items:
            self._step()
            yield item

    def _parse(self, source: str, name: str | None, filename: str | None) -> nodes.Template:
        if len(source) > MAX_TEMPLATE_CHARS:
            raise TemplateSyntaxError("too long a template", 1, name, filename)
        tree = super()._parse(source, name, filename)
        for loop in tree.find_all(nodes.For):
            if loop.recursive:
                raise TemplateSyntaxError("a recursive loop", loop.lineno, name, filename)
            counted = nodes.Filter(loop.iter, "counted", [], [], None, None)
            loop.iter = counted.set_lineno(loop.lineno)
        return tree


class _Generation(Extension):
    """``{% generation %}`` blocks, which mark completions for others and are plain text here."""

    tags = {"generation"}  # noqa: RUF012 - as jinja2 declares it

    def parse(self, parser: Parser) -> nodes.Node | list[nodes.Node]:
        line = next(parser.stream).lineno
        body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
        call = self.call_method("_written")
        return nodes.CallBlock(call, [], [], body).set_lineno(line)

    def _written(self, caller: Macro) -> str:
        return str(caller())


class _Dict:
    """``dict``, without the class's other attributes."""

    def __call__(self, *args: Any, **kwargs: Any) -> dict[Any, Any]:
        return dict(*args, **kwargs)

    def fromkeys(self, *args: Any) -> dict[Any, Any]:
        """As ``dict.fromkeys``."""
        return dict.fromkeys(*args)


class _Namespace(Namespace):
    """A namespace that keeps no names of Python's own."""

    def __init__(*args: Any, **kwargs: Any) -> None:
        _self, *rest = args
        for name in dict(*rest, **kwargs):
            _public(name)
        Namespace.__init__(*args, **kwargs)

    def __setitem__(self, name: str, value: Any) -> None:
        _public(name)
        super().__setitem__(name, value)


def _public(name: object) -> None:
    if isinstance(name, str) and name.startswith("_"):
        raise SecurityError("a name of a namespace that begins with _")


def _is_small(operator: str, left: Any, right: Any) -> bool:
    sides = (left, right)
    sizes = [len(side) for side in sides if isinstance(side, str | list | tuple)]
    numbers = [side for side in sides if isinstance(side, int)]
    match operator:
        case "+":
            return sum(sizes) <= MAX_ITEMS
        case "*" if sizes:
            return all(abs(number) * max(sizes) <= MAX_ITEMS for number in numbers)
        case "*":
            return sum(number.bit_length() for number in numbers) <= _MAX_BITS
        case "**":
            return len(numbers) < 2 or left.bit_length() * abs(right) <= _MAX_BITS
    return not (isinstance(left, str) and _WIDE.search(left))


def _refuse(message: object) -> None:
    raise TemplateError(str(message))


def _tojson(
    value: Any,
    ensure_ascii: bool = False,
    indent: int | None = None,
    separators: tuple[str, str] | None = None,
    sort_keys: bool = False,
) -> str:
    if isinstance(indent, int) and indent > 64:
        raise TemplateEndless("too wide an indent")
    return json.dumps(
        value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys
    )


@lru_cache(maxsize=8)
def _compiled(source: str) -> tuple[_Environment, Any]:
    environment = _Environment()
    environment.begin()
    return environment, environment.from_string(source)
