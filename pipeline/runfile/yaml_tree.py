"""The tree of a run file: nodes that know their line and column, and what plain scalars mean."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from strongroom.errors import StrongroomError

Value = str | int | float | bool | None


@dataclass(frozen=True)
class Mark:
    """A position in the file, counted from 1."""

    line: int
    column: int


@dataclass
class Scalar:
    """One value. ``plain`` means unquoted, so its text was read by the core schema."""

    value: Value
    text: str
    mark: Mark
    plain: bool = True


@dataclass
class Sequence:
    """A list of nodes."""

    mark: Mark
    items: list[Node] = field(default_factory=list)


@dataclass
class Mapping:
    """Keys (text, each once) with the key's own mark and the value."""

    mark: Mark
    entries: dict[str, Node] = field(default_factory=dict)
    key_marks: dict[str, Mark] = field(default_factory=dict)


Node = Scalar | Sequence | Mapping


@dataclass
class Source:
    """A file's text, its tree, and what was wrong with it."""

    name: str
    text: str
    root: Node | None
    errors: list[StrongroomError]

    def place(self, mark: Mark) -> str:
        """``run.yaml:9:3``."""
        return f"{self.name}:{mark.line}:{mark.column}"


# YAML 1.2.2, section 10.3.2, the core schema.
_NULL = re.compile(r"|~|null|Null|NULL")
_BOOL = re.compile(r"true|True|TRUE|false|False|FALSE")
_INT = re.compile(r"[-+]?[0-9]+")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_MAX_DIGITS = 40


def core_value(text: str) -> Value:
    """What an unquoted scalar means. Hexadecimal, octal, infinity and NaN stay text."""
    if _NULL.fullmatch(text):
        return None
    if _BOOL.fullmatch(text):
        return text.lower() == "true"
    if len(text) <= _MAX_DIGITS:
        if _INT.fullmatch(text):
            return int(text)
        if _FLOAT.fullmatch(text):
            return float(text)
    return text


def to_data(node: Node) -> Any:
    """The tree as dicts, lists and scalars."""
    match node:
        case Scalar():
            return node.value
        case Sequence():
            return [to_data(item) for item in node.items]
        case Mapping():
            return {key: to_data(value) for key, value in node.entries.items()}


def scalars(node: Node, path: tuple[str | int, ...] = ()) -> Iterator[tuple[Any, Scalar]]:
    """Every scalar value with its path, in file order."""
    match node:
        case Scalar():
            yield path, node
        case Sequence():
            for index, item in enumerate(node.items):
                yield from scalars(item, (*path, index))
        case Mapping():
            for key, value in node.entries.items():
                yield from scalars(value, (*path, key))
