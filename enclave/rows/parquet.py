"""Rows of a Parquet file, each as one line of JSON.

For the sealer alone, which imports it after stage A, since Arrow starts threads. Columns may hold
what JSON has: text, whole and floating numbers, booleans, nulls, and lists and structs of those.
Other types (times, decimals, bytes, maps) have no single form in JSON, so the data's owner has to
choose one and write it as text. Row groups are read in pieces, in order, by one thread.
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from typing import Any

import pyarrow
from pyarrow import parquet, types

from strongroom.enclave.channel.errors import NotParquet
from strongroom.enclave.rows.lines import Position
from strongroom.trainer.data.chat import FaultCode

_BATCH_ROWS = 64
"""Rows that are in memory at once; each may have megabytes."""
_BUFFER_BYTES = 1 << 20
_PLAIN = (
    types.is_null,
    types.is_boolean,
    types.is_integer,
    types.is_float32,
    types.is_float64,
    types.is_string,
    types.is_large_string,
    types.is_string_view,
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
    batches = _opened(source).iter_batches(_BATCH_ROWS, use_threads=False)
    while True:
        try:
            batch = next(batches, None)
        except (pyarrow.ArrowException, OSError):
            raise NotParquet() from None
        if batch is None:
            return
        for row in _columns(batch):
            position.line += 1
            yield row if isinstance(row, FaultCode) else _line(row)


def warm_up() -> None:
    """Read a file once, so that every library is loaded before the lock-down is complete."""
    file = io.BytesIO()
    parquet.write_table(pyarrow.table({"a": [["b"]]}), file, compression="zstd")
    for batch in parquet.ParquetFile(file).iter_batches(_BATCH_ROWS, use_threads=False):
        batch.to_pylist()


def _opened(source: int) -> Any:
    file = open(source, "rb", buffering=0, closefd=False)  # noqa: SIM115 - the caller's descriptor
    file.seek(0)
    try:
        return parquet.ParquetFile(
            file, buffer_size=_BUFFER_BYTES, pre_buffer=False, page_checksum_verification=True
        )
    except (pyarrow.ArrowException, OSError):
        raise NotParquet() from None


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
    try:
        found: list[Any] = batch.to_pylist()
        return found
    except UnicodeDecodeError:
        if batch.num_rows == 1:
            return [FaultCode.NOT_JSON]
    return [row for index in range(batch.num_rows) for row in _columns(batch.slice(index, 1))]


def _line(row: dict[str, Any]) -> bytes | FaultCode:
    try:
        return json.dumps(row, ensure_ascii=False, allow_nan=False).encode()
    except ValueError:  # a lone surrogate cannot come out of Arrow
        return FaultCode.NOT_FINITE
