"""Rows of a dataset: one JSON object per line, checked before anything is trained on it.

A row has ``messages`` (a chat that the model is to continue), optionally ``ground_truth`` (any
JSON value) and ``tools`` (function schemas for the template), and any other columns. All but the
first two are keyword arguments of the evaluator. A bad row raises :class:`RecordFault` with one of
the enumerated codes, and never with the row's content.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import msgspec

from strongroom.errors import bounded_json
from strongroom.trainer.data.chat import (
    FaultCode,
    Message,
    RecordFault,
    check_messages,
    checked_tools,
)
from strongroom.trainer.data.plaintext import Plaintext

MAX_RECORD_BYTES = 4 << 20
"""Longest record that is decoded by default, in bytes."""


class Row(Plaintext, msgspec.Struct, frozen=True, kw_only=True):
    """One decoded record."""

    messages: tuple[Message, ...]
    ground_truth: Any = None
    extra: dict[str, Any] = {}
    """All other columns, ``tools`` among them."""

    @property
    def tools(self) -> list[dict[str, Any]] | None:
        """The functions that the model may call."""
        return self.extra.get("tools")

    def chat(self) -> list[dict[str, Any]]:
        """The messages as plain dictionaries, for evaluators."""
        return [message.plain() for message in self.messages]


class Rows(Protocol):
    """Rows by index. A list is one; so is :class:`SparseRows`."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> Row: ...


class SparseRows:
    """A dataset of ``n_rows`` of which only some are in memory."""

    def __init__(self, n_rows: int, held: Mapping[int, Row]) -> None:
        self._n_rows = n_rows
        self._held = held

    def __len__(self) -> int:
        return self._n_rows

    def __getitem__(self, index: int) -> Row:
        """Raises ``KeyError`` for a row that is not held."""
        return self._held[index]

    def with_rows(self, changed: Mapping[int, Row]) -> SparseRows:
        """The same dataset with other rows at these indices."""
        return SparseRows(self._n_rows, {**self._held, **changed})


def decode_row(line: bytes | memoryview, max_bytes: int = MAX_RECORD_BYTES) -> Row:
    """Decode one line, without its line end. Raises :class:`RecordFault`."""
    if len(line) > max_bytes:
        raise RecordFault(FaultCode.TOO_LONG)
    try:
        columns = bounded_json.decode(line)
    except msgspec.DecodeError:
        blank = not bytes(line).strip()
        raise RecordFault(FaultCode.BLANK if blank else FaultCode.NOT_JSON) from None
    if not isinstance(columns, dict):
        raise RecordFault(FaultCode.NOT_OBJECT)
    if "messages" not in columns:
        raise RecordFault(FaultCode.MESSAGES_MISSING)
    messages = _messages(columns)
    del columns["messages"]
    if "tools" in columns:
        columns["tools"] = checked_tools(columns["tools"])
    return Row(messages=messages, ground_truth=columns.pop("ground_truth", None), extra=columns)


class _Chat(msgspec.Struct):
    """The one column with a schema. msgspec caches a struct's schema but builds any other type's in
    each call, which takes twice as long as reading the row."""

    messages: tuple[Message, ...]


def _messages(columns: dict[str, Any]) -> tuple[Message, ...]:
    try:
        messages = msgspec.convert(columns, _Chat).messages
    except msgspec.ValidationError:
        raise RecordFault(FaultCode.MESSAGES_INVALID) from None
    check_messages(messages)
    return messages
