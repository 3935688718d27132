"""Reads one YAML 1.2 document into a tree of nodes that know their line and column.

Only the part of YAML that a run file needs is accepted: mappings, sequences and core-schema
scalars in one UTF-8 document. Anchors, aliases, merge keys, tags and directives are refused, so
no text can expand (alias bombs) or construct objects. The tree is built from the event stream with
a stack of its own, so that a deep document is refused and never recursed into.

Every problem is reported, not the first one only; only a syntax error or a limit ends the reading.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError
from ruamel.yaml.events import (
    AliasEvent,
    DocumentStartEvent,
    MappingEndEvent,
    MappingStartEvent,
    ScalarEvent,
    SequenceEndEvent,
    SequenceStartEvent,
)
from ruamel.yaml.reader import ReaderError

from strongroom.pipeline.runfile.errors import (
    AliasRefused,
    DuplicateKey,
    KeyNotText,
    RunFileEmpty,
    RunFileNotUtf8,
    RunFileTooDeep,
    RunFileTooLarge,
    RunFileUnreadable,
    SeveralDocuments,
    TagRefused,
    YamlSyntax,
)
from strongroom.pipeline.runfile.yaml_tree import (
    Mapping,
    Mark,
    Node,
    Scalar,
    Sequence,
    Source,
    core_value,
)

MAX_BYTES = 128 << 10
MAX_DEPTH = 32
MAX_NODES = 10_000


def read(path: Path) -> Source:
    """Read a run file. Errors are collected in ``Source.errors``; nothing is raised for input."""
    name = path.name
    try:
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except OSError as error:
        reason = error.strerror or "an unreadable file"
        return Source(name, "", None, [RunFileUnreadable(place=str(path), actual=reason)])
    return parse(data, name)


def parse(data: bytes, name: str) -> Source:
    """Read a run file from bytes; ``name`` is used in places."""
    source = Source(name, "", None, [])
    if len(data) > MAX_BYTES:
        source.errors.append(
            RunFileTooLarge(place=name, expected=f"at most {MAX_BYTES} bytes", actual="more")
        )
        return source
    try:
        source.text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        column = error.start - data.rfind(b"\n", 0, error.start)
        source.errors.append(
            RunFileNotUtf8(
                place=f"{name}:{line}:{column}", actual=f"the byte 0x{data[error.start]:02x}"
            )
        )
        return source
    builder = _Builder(source)
    try:
        for event in YAML(typ="safe", pure=True).parse(source.text):
            if not builder.accept(event):
                return source
    except (MarkedYAMLError, ReaderError) as error:
        source.errors.append(_syntax_error(source, error))
        return source
    source.root = builder.root
    if source.root is None or (isinstance(source.root, Scalar) and source.root.value is None):
        source.errors.append(RunFileEmpty(place=name))
    return source


def _syntax_error(source: Source, error: MarkedYAMLError | ReaderError) -> YamlSyntax:
    if isinstance(error, ReaderError):
        position = int(error.position)
        before = source.text[:position]
        mark = Mark(before.count("\n") + 1, position - before.rfind("\n"))
        problem = "a control character"
    else:
        where = error.problem_mark or error.context_mark
        mark = Mark(where.line + 1, where.column + 1) if where else Mark(1, 1)
        text = str(error.problem or error.context or "a broken structure")
        problem = " ".join(text.split()).removeprefix("found ")
    return YamlSyntax(place=source.place(mark), actual=problem)


class _Builder:
    """Builds the tree from parser events, with its own stack of open collections."""

    def __init__(self, source: Source) -> None:
        self.source = source
        self.root: Node | None = None
        self.documents = 0
        self.nodes = 0
        self.open: list[Sequence | Mapping] = []
        # For each open collection the key that waits for its value, with None for "expect a key".
        self.keys: list[str | None] = []

    def accept(self, event: Any) -> bool:
        """Take one event; False ends the reading."""
        match event:
            case DocumentStartEvent():
                return self._document(event)
            case AliasEvent():
                self._refuse_alias(event)
                self._add(Scalar(None, "", self._mark(event)))
            case ScalarEvent():
                self._check_node(event)
                plain = event.style is None or event.style == ""
                value = core_value(event.value) if plain else event.value
                self._add(Scalar(value, event.value, self._mark(event), plain))
            case MappingStartEvent():
                self._check_node(event)
                self._push(Mapping(self._mark(event)))
            case SequenceStartEvent():
                self._check_node(event)
                self._push(Sequence(self._mark(event)))
            case MappingEndEvent() | SequenceEndEvent():
                self.open.pop()
                self.keys.pop()
        return self._within_limits(event)

    def _document(self, event: DocumentStartEvent) -> bool:
        self.documents += 1
        if self.documents > 1:
            self.source.errors.append(
                SeveralDocuments(place=self.source.place(self._mark(event)), expected="one")
            )
            return False
        if event.version or event.tags:
            self.source.errors.append(TagRefused(place=self.source.place(Mark(1, 1))))
        return True

    def _within_limits(self, event: Any) -> bool:
        place = self.source.place(self._mark(event))
        if len(self.open) > MAX_DEPTH:
            self.source.errors.append(
                RunFileTooDeep(place=place, expected=f"at most {MAX_DEPTH} levels")
            )
            return False
        if self.nodes > MAX_NODES:
            self.source.errors.append(
                RunFileTooLarge(place=place, expected=f"at most {MAX_NODES} values")
            )
            return False
        return True

    def _check_node(self, event: Any) -> None:
        if event.anchor is not None:
            self._refuse_alias(event)
        if event.ctag is not None:
            self.source.errors.append(TagRefused(place=self.source.place(self._mark(event))))

    def _refuse_alias(self, event: Any) -> None:
        self.source.errors.append(AliasRefused(place=self.source.place(self._mark(event))))

    def _push(self, node: Sequence | Mapping) -> None:
        self._add(node)
        self.open.append(node)
        self.keys.append(None)

    def _add(self, node: Node) -> None:
        self.nodes += 1
        if not self.open:
            self.root = node
            return
        parent = self.open[-1]
        if isinstance(parent, Sequence):
            parent.items.append(node)
        elif self.keys[-1] is None:
            self.keys[-1] = self._key(parent, node)
        else:
            # A refused key is kept under a name that no key can have, then dropped with its value.
            if self.keys[-1]:
                parent.entries[self.keys[-1]] = node
            self.keys[-1] = None

    def _key(self, parent: Mapping, node: Node) -> str:
        place = self.source.place(node.mark)
        if not isinstance(node, Scalar) or not isinstance(node.value, str) or not node.text:
            self.source.errors.append(KeyNotText(place=place))
            return ""
        if node.text == "<<":
            self.source.errors.append(AliasRefused(place=place))
            return ""
        if node.text in parent.key_marks:
            first = self.source.place(parent.key_marks[node.text])
            self.source.errors.append(
                DuplicateKey(place=place, actual=f"{node.text[:60]!r}, first given at {first}")
            )
            return ""
        parent.key_marks[node.text] = node.mark
        return node.text

    def _mark(self, event: Any) -> Mark:
        return Mark(event.start_mark.line + 1, event.start_mark.column + 1)
