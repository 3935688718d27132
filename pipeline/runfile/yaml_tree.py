"""The tree of a run file: nodes that know their line and column, and what plain scalars mean."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

Path = tuple[str | int, ...]
"""Steps from the root: keys and indexes."""
Value = str | int | float | bool | None


@dataclass(frozen=True)
class Mark:
    """A position in the file, counted from 1."""

    line: int
    column: int


@dataclass
class ScalarNode:
    """One value. ``plain`` means unquoted, so its text was read by the core schema."""

    value: Value
    text: str
    mark: Mark
    plain: bool = True


@dataclass
class SequenceNode:
    """A list of nodes."""

    mark: Mark
    items: list[Node] = field(default_factory=list)


@dataclass
class MappingNode:
    """Keys (text, each once) with the key's own mark and the value."""

    mark: Mark
    entries: dict[str, Node] = field(default_factory=dict)
    key_marks: dict[str, Mark] = field(default_factory=dict)


Node = ScalarNode | SequenceNode | MappingNode


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
        case ScalarNode():
            return node.value
        case SequenceNode():
            return [to_data(item) for item in node.items]
        case MappingNode():
            return {key: to_data(value) for key, value in node.entries.items()}


def scalars(node: Node, path: Path = ()) -> Iterator[tuple[Path, ScalarNode]]:
    """Every scalar value with its path, in file order."""
    match node:
        case ScalarNode():
            yield path, node
        case SequenceNode():
            for index, item in enumerate(node.items):
                yield from scalars(item, (*path, index))
        case MappingNode():
            for key, value in node.entries.items():
                yield from scalars(value, (*path, key))


def child(node: Node, step: str | int) -> Node | None:
    """The node one step below, if there is one."""
    if isinstance(node, MappingNode) and isinstance(step, str):
        return node.entries.get(step)
    if isinstance(node, SequenceNode) and isinstance(step, int) and step < len(node.items):
        return node.items[step]
    return None


def exists(root: Node, path: Path) -> bool:
    """Whether the tree has a node at ``path``."""
    node: Node | None = root
    for step in path:
        node = None if node is None else child(node, step)
    return node is not None


def find(root: Node, path: Path) -> tuple[Node, Mark]:
    """The deepest node on ``path`` that exists, and where to point at it.

    A scalar is pointed at directly; a collection at the key that names it.
    """
    node, mark = root, root.mark
    for step in path:
        below = child(node, step)
        if below is None:
            break
        mark = below.mark
        if isinstance(node, MappingNode) and not isinstance(below, ScalarNode):
            mark = node.key_marks[str(step)]
        node = below
    return node, mark
