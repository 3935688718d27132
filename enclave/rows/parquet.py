"""Rows of a Parquet file, each as one line of JSON.

For the sealer alone, which imports it after stage A, since Arrow starts threads. Columns may hold
what JSON has: text, whole and floating numbers, booleans, nulls, and lists and structs of those.
Other types (times, decimals, bytes, maps) have no single form in JSON, so the data's owner has to
choose one and write it as text. Row groups are read in pieces, in order, by one thread.

A file of a kilobyte can stand for gigabytes: one value repeated, or a list of nothing. So rows are
weighed while they are columns, and only those that could be a record become objects. Columns that
do not fit into the sealer's memory limit are read row by row.
"""

from __future__ import annotations

import io
import json
import os
from collections.abc import Iterator
from typing import Any

import pyarrow
from pyarrow import compute, parquet, types

from strongroom.enclave.channel.errors import NotParquet
from strongroom.enclave.rows.lines import Position
from strongroom.trainer.data.chat import FaultCode
from strongroom.trainer.data.rows import MAX_RECORD_BYTES

_BATCH_ROWS = 64
"""Rows that are in memory at once; each may have megabytes."""
_BUFFER_BYTES = 1 << 20
_TEXT = (types.is_string, types.is_large_string, types.is_string_view)
_PLAIN = (
    types.is_null,
    types.is_boolean,
    types.is_integer,
    types.is_float32,
    types.is_float64,
    *_TEXT,
)
_LISTS = (
    types.is_list,
    types.is_large_list,
    types.is_fixed_size_list,
    types.is_list_view,
    types.is_large_list_view,
)


def unfit_columns(source: int) -> Iterator[tuple[int, FaultCode]]:
    """Columns that cannot become JSON, by number from 1. Raises ``NotParquet``."""
    schema = _opened(source).schema_arrow
    for number, field in enumerate(schema, 1):
        if schema.names.index(field.name) < number - 1:
            yield number, FaultCode.COLUMN_REPEATED
        elif not _is_json(field.type):
            yield number, FaultCode.COLUMN_TYPE


def rows(source: int, position: Position) -> Iterator[bytes | FaultCode]:
    """Each row as JSON, or what is wrong with it; ``position.line`` counts from 1.

    Raises ``NotParquet`` for a file that cannot be read to its end.
    """
    position.line = 0
    try:
        yield from _rows(source, position, _BATCH_ROWS)
    except MemoryError:
        try:
            yield from _rows(source, position, 1)
        except MemoryError:
            position.line += 1
            yield FaultCode.TOO_LONG


def _rows(source: int, position: Position, at_once: int) -> Iterator[bytes | FaultCode]:
    """The rows after ``position.line``. Raises ``MemoryError`` before one that does not fit."""
    batches = _opened(source).iter_batches(at_once, use_threads=False)
    passed = position.line
    while True:
        try:
            batch = next(batches, None)
        except pyarrow.ArrowMemoryError:
            raise
        except (pyarrow.ArrowException, OSError):
            raise NotParquet() from None
        if batch is None:
            return
        skipped = min(passed, batch.num_rows)
        passed -= skipped
        for row in _columns(batch.slice(skipped)):
            line = row if isinstance(row, FaultCode) else _line(row)
            position.line += 1
            yield line


def warm_up() -> None:
    """Read a file once, so that every library is loaded before the lock-down is complete."""
    file = io.BytesIO()
    text = pyarrow.array(["b", "c"])
    table = pyarrow.table({"a": [["b"], []], "b": text.dictionary_encode(), "c": text})
    parquet.write_table(table, file, compression="zstd")
    for batch in parquet.ParquetFile(file).iter_batches(_BATCH_ROWS, use_threads=False):
        _columns(batch)


def _opened(source: int) -> Any:
    try:
        return parquet.ParquetFile(
            _File(source),
            buffer_size=_BUFFER_BYTES,
            pre_buffer=False,
            page_checksum_verification=True,
        )
    except (pyarrow.ArrowException, OSError):
        raise NotParquet() from None


class _File(io.RawIOBase):
    """An open descriptor, read without asking anything else of the file."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self.seek(0)

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        return os.lseek(self._descriptor, offset, whence)

    def readinto(self, buffer: Any, /) -> int:
        return os.readv(self._descriptor, [buffer])


def _is_json(kind: Any) -> bool:
    if any(is_kind(kind) for is_kind in _PLAIN):
        return True
    if types.is_dictionary(kind) or any(is_kind(kind) for is_kind in _LISTS):
        return _is_json(kind.value_type)
    if types.is_struct(kind):
        names = [field.name for field in kind]
        return len(set(names)) == len(names) and all(_is_json(field.type) for field in kind)
    return False


def _columns(batch: Any) -> list[Any]:
    """The rows of a batch; Arrow does not check that text is UTF-8 until it is taken out."""
    heavy = sum(map(_least_bytes, batch.columns)) > MAX_RECORD_BYTES
    if heavy and batch.num_rows == 1:
        return [FaultCode.TOO_LONG]
    if not heavy:
        try:
            found: list[Any] = batch.to_pylist()
            return found
        except UnicodeDecodeError:
            if batch.num_rows == 1:
                return [FaultCode.NOT_JSON]
    return [row for index in range(batch.num_rows) for row in _columns(batch.slice(index, 1))]


def _least_bytes(column: Any) -> int:
    """The fewest bytes that a column's values can have as JSON: text, and a sign for each value."""
    kind, least = column.type, len(column)
    if types.is_dictionary(kind):
        lengths = compute.binary_length(column.dictionary)
        return least + (compute.sum(compute.take(lengths, column.indices)).as_py() or 0)
    if types.is_string_view(kind):
        column = column.cast(pyarrow.large_string())
    if any(is_text(kind) for is_text in _TEXT):
        return least + (compute.sum(compute.binary_length(column)).as_py() or 0)
    if any(is_list(kind) for is_list in _LISTS):
        return least + _least_bytes(column.flatten())
    if types.is_struct(kind):
        return least + sum(map(_least_bytes, column.flatten()))
    return least


def _line(row: dict[str, Any]) -> bytes | FaultCode:
    try:
        return json.dumps(row, ensure_ascii=False, allow_nan=False).encode()
    except ValueError:  # a lone surrogate cannot come out of Arrow
        return FaultCode.NOT_FINITE
