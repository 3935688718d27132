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

from strongroom.errors.visible import shortened
from strongroom.pipeline.runfile.document import Document
from strongroom.pipeline.runfile.errors import (
    AliasRefused,
    DuplicateKey,
    KeyNotText,
    RunError,
    RunFileEmpty,
    RunFileNotUtf8,
    RunFileTooDeep,
    RunFileTooLarge,
    RunFileUnreadable,
    SeveralDocuments,
    TagRefused,
    YamlSyntax,
)
from strongroom.pipeline.runfile.secrets import secrets_in
from strongroom.pipeline.runfile.yaml_tree import (
    MappingNode,
    Mark,
    Node,
    ScalarNode,
    SequenceNode,
    core_value,
)

MAX_BYTES = 128 << 10
MAX_DEPTH = 32
MAX_NODES = 10_000


def read(path: Path) -> Document:
    """Read a file. What is wrong with it is in ``Document.errors``; nothing is raised for input."""
    try:
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except OSError as error:
        reason = error.strerror or "an unreadable file"
        return Document(path.name, errors=[RunFileUnreadable(place=str(path), actual=reason)])
    return parse(data, path.name)


def parse(data: bytes, name: str) -> Document:
    """Read a document from bytes; ``name`` is used in places."""
    document = Document(name)
    try:
        document.text = _text(data, name)
        document.root = _tree(document)
        document.is_read = True
    except RunError as error:
        document.errors.append(error)
    document.secrets = secrets_in(document)
    return document


def _text(data: bytes, name: str) -> str:
    if len(data) > MAX_BYTES:
        raise RunFileTooLarge(place=name, expected=f"at most {MAX_BYTES} bytes", actual="more")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        column = error.start - data.rfind(b"\n", 0, error.start)
        place, actual = f"{name}:{line}:{column}", f"the byte 0x{data[error.start]:02x}"
    raise RunFileNotUtf8(place=place, actual=actual)


def _tree(document: Document) -> Node:
    builder = _Builder(document)
    try:
        for event in YAML(typ="safe", pure=True).parse(document.text):
            builder.accept(event)
    except (MarkedYAMLError, ReaderError) as error:
        raise _syntax_error(document, error) from None
    root = builder.root
    if root is None or (isinstance(root, ScalarNode) and root.value is None):
        raise RunFileEmpty(place=document.name)
    return root


def _syntax_error(document: Document, error: MarkedYAMLError | ReaderError) -> YamlSyntax:
    if isinstance(error, ReaderError):
        position = int(error.position)
        before = document.text[:position]
        mark = Mark(before.count("\n") + 1, position - before.rfind("\n"))
        problem = "a control character"
    else:
        where = error.problem_mark or error.context_mark
        mark = Mark(where.line + 1, where.column + 1) if where else Mark(1, 1)
        text = str(error.problem or error.context or "a broken structure")
        problem = " ".join(text.split()).removeprefix("found ")
    return YamlSyntax(place=document.at(mark), actual=problem)


class _Builder:
    """Builds the tree from parser events, with its own stack of open collections."""

    def __init__(self, document: Document) -> None:
        self.document = document
        self.root: Node | None = None
        self.documents = 0
        self.nodes = 0
        self.open: list[SequenceNode | MappingNode] = []
        # For each open collection the key that waits for its value, with None for "expect a key".
        self.keys: list[str | None] = []

    def accept(self, event: Any) -> None:
        """Take one event. Raises what ends the reading: a second document, or a limit."""
        match event:
            case DocumentStartEvent():
                self._begin(event)
            case AliasEvent():
                self._refuse_alias(event)
                self._add(ScalarNode(None, "", self._mark(event)))
            case ScalarEvent():
                self._check_node(event)
                plain = event.style is None or event.style == ""
                value = core_value(event.value) if plain else event.value
                self._add(ScalarNode(value, event.value, self._mark(event), plain))
            case MappingStartEvent():
                self._check_node(event)
                self._push(MappingNode(self._mark(event)))
            case SequenceStartEvent():
                self._check_node(event)
                self._push(SequenceNode(self._mark(event)))
            case MappingEndEvent() | SequenceEndEvent():
                self.open.pop()
                self.keys.pop()
        self._check_limits(event)

    def _begin(self, event: DocumentStartEvent) -> None:
        self.documents += 1
        if self.documents > 1:
            raise SeveralDocuments(place=self.document.at(self._mark(event)), expected="one")
        if event.version or event.tags:
            self.document.errors.append(TagRefused(place=self.document.at(Mark(1, 1))))

    def _check_limits(self, event: Any) -> None:
        place = self.document.at(self._mark(event))
        if len(self.open) > MAX_DEPTH:
            raise RunFileTooDeep(place=place, expected=f"at most {MAX_DEPTH} levels")
        if self.nodes > MAX_NODES:
            raise RunFileTooLarge(place=place, expected=f"at most {MAX_NODES} values")

    def _check_node(self, event: Any) -> None:
        if event.anchor is not None:
            self._refuse_alias(event)
        if event.ctag is not None:
            self.document.errors.append(TagRefused(place=self.document.at(self._mark(event))))

    def _refuse_alias(self, event: Any) -> None:
        self.document.errors.append(AliasRefused(place=self.document.at(self._mark(event))))

    def _push(self, node: SequenceNode | MappingNode) -> None:
        self._add(node)
        self.open.append(node)
        self.keys.append(None)

    def _add(self, node: Node) -> None:
        self.nodes += 1
        if not self.open:
            self.root = node
            return
        parent = self.open[-1]
        if isinstance(parent, SequenceNode):
            parent.items.append(node)
        elif self.keys[-1] is None:
            self.keys[-1] = self._key(parent, node)
        else:
            # A refused key is kept under a name that no key can have, then dropped with its value.
            if self.keys[-1]:
                parent.entries[self.keys[-1]] = node
            self.keys[-1] = None

    def _key(self, parent: MappingNode, node: Node) -> str:
        place = self.document.at(node.mark)
        if not isinstance(node, ScalarNode) or not isinstance(node.value, str) or not node.text:
            self.document.errors.append(KeyNotText(place=place))
            return ""
        if node.text == "<<":
            self.document.errors.append(AliasRefused(place=place))
            return ""
        if node.text in parent.key_marks:
            first = self.document.at(parent.key_marks[node.text])
            self.document.errors.append(
                DuplicateKey(
                    place=place, actual=f"{shortened(node.text, 60)!r}, first given at {first}"
                )
            )
            return ""
        parent.key_marks[node.text] = node.mark
        return node.text

    def _mark(self, event: Any) -> Mark:
        return Mark(event.start_mark.line + 1, event.start_mark.column + 1)
