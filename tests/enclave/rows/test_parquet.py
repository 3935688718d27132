"""Parquet as the sealer reads it: what rows become, and what is refused by column and row."""

from __future__ import annotations

import datetime
import decimal
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from strongroom.enclave.channel.errors import NotParquet
from strongroom.enclave.rows import parquet
from strongroom.enclave.rows.lines import Position
from strongroom.trainer.data.chat import FaultCode
from strongroom.trainer.data.rows import decode_row

ASKED = [{"role": "user", "content": "1+2?"}]


@contextmanager
def opened(path: Path) -> Iterator[int]:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def written(path: Path, table: Any, **options: Any) -> Path:
    file = path / "rows.parquet"
    pq.write_table(table, file, **options)
    return file


def read(path: Path) -> list[tuple[int, Any]]:
    """Lines by number; a good one as what its JSON says."""
    position = Position()
    with opened(path) as source:
        assert list(parquet.unfit_columns(source)) == []
        return [
            (position.line, row if isinstance(row, FaultCode) else json.loads(row))
            for row in parquet.rows(source, position)
        ]


def test_chats_with_tools_become_rows(tmp_path):
    call = {"id": "c", "function": {"name": "add", "arguments": '{"a": 1}'}}
    chats = [
        [
            {"role": "user", "content": "ü"},
            {"role": "assistant", "content": None, "tool_calls": [call]},
            {"role": "tool", "content": "3", "tool_call_id": "c"},
        ],
        ASKED,
    ]
    tools = json.dumps([{"type": "function", "function": {"name": "add"}}])
    table = pa.table({"messages": chats, "ground_truth": ["3", None], "tools": [tools, None]})
    found = [decode_row(json.dumps(row).encode()) for _, row in read(written(tmp_path, table))]
    assert [row.chat() for row in found] == chats
    assert found[0].tools == json.loads(tools)
    assert found[1].tools is None
    assert [row.ground_truth for row in found] == ["3", None]


@pytest.mark.parametrize(
    ("column", "values"),
    [
        (pa.array(["a", None, "b"]), ["a", None, "b"]),
        (pa.array(["a", "é", "b"], pa.large_string()), ["a", "é", "b"]),
        (pa.array(["a", "é", "b"], pa.string_view()), ["a", "é", "b"]),
        (pa.array(["x", "y", "x"]).dictionary_encode(), ["x", "y", "x"]),
        (pa.array([None, None, None], pa.null()), [None, None, None]),
        (pa.array([True, False, None]), [True, False, None]),
        (pa.array([2**64 - 1, 0, 1], pa.uint64()), [2**64 - 1, 0, 1]),
        (pa.array([-(2**63), 0, 1], pa.int64()), [-(2**63), 0, 1]),
        (pa.array([0.1, 0.5, -1e300]), [0.1, 0.5, -1e300]),
        (pa.array([0.1, 0.5, 1.0], pa.float32()), [0.10000000149011612, 0.5, 1.0]),
        (pa.array([[1], [], None], pa.large_list(pa.int8())), [[1], [], None]),
        (pa.array([[1, 2]] * 3, pa.list_(pa.int8(), 2)), [[1, 2]] * 3),
        (
            pa.array([{"a": [{"b": "c"}]}, {"a": []}, {"a": None}]),
            [{"a": [{"b": "c"}]}, {"a": []}, {"a": None}],
        ),
    ],
)
def test_what_json_has_comes_as_it_is(tmp_path, column, values):
    table = pa.table({"x": column})
    assert read(written(tmp_path, table)) == [(n, {"x": v}) for n, v in enumerate(values, 1)]


@pytest.mark.parametrize(
    "column",
    [
        pa.array([datetime.datetime(2026, 1, 2)]),
        pa.array([datetime.date(2026, 1, 2)]),
        pa.array([datetime.time(1)]),
        pa.array([datetime.timedelta(1)]),
        pa.array([decimal.Decimal("1.5")]),
        pa.array([b"bytes"]),
        pa.array([1.5], pa.float16()),
        pa.array([[("k", 1)]], pa.map_(pa.string(), pa.int64())),
        pa.array([[datetime.date(2026, 1, 2)]]),
        pa.array([{"a": {"b": decimal.Decimal(1)}}]),
        pa.array([b"bytes"]).dictionary_encode(),
    ],
    ids=lambda column: str(column.type),
)
def test_other_types_are_refused_by_column(tmp_path, column):
    path = written(tmp_path, pa.table({"id": [1], "x": column}))
    with opened(path) as source:
        assert list(parquet.unfit_columns(source)) == [(2, FaultCode.COLUMN_TYPE)]


def test_a_column_may_not_come_twice(tmp_path):
    table = pa.Table.from_arrays([pa.array([n]) for n in (1, 2, 3)], names=["a", "b", "a"])
    with opened(written(tmp_path, table)) as source:
        assert list(parquet.unfit_columns(source)) == [(3, FaultCode.COLUMN_REPEATED)]


def test_numbers_that_json_does_not_have_are_refused_by_row(tmp_path):
    values = [1.0, float("nan"), 2.0, float("-inf")]
    found = read(written(tmp_path, pa.table({"x": values})))
    wrong = FaultCode.NOT_FINITE
    assert found == [(1, {"x": 1.0}), (2, wrong), (3, {"x": 2.0}), (4, wrong)]


def test_text_that_is_not_utf8_is_refused_by_row(tmp_path):
    offsets = pa.py_buffer(b"".join(n.to_bytes(4, "little") for n in (0, 1, 2, 3)))
    text = pa.Array.from_buffers(pa.string(), 3, [None, offsets, pa.py_buffer(b"a\xffb")])
    found = read(written(tmp_path, pa.table({"x": text})))
    assert found == [(1, {"x": "a"}), (2, FaultCode.NOT_JSON), (3, {"x": "b"})]


@pytest.mark.parametrize("compression", ["none", "snappy", "gzip", "brotli", "zstd", "lz4"])
def test_many_row_groups_keep_their_order(tmp_path, compression):
    table = pa.table({"x": list(range(1000))})
    path = written(tmp_path, table, row_group_size=77, compression=compression)
    assert read(path) == [(n + 1, {"x": n}) for n in range(1000)]


def test_a_file_that_is_cut_or_damaged_is_told(tmp_path):
    path = written(tmp_path, pa.table({"x": ["hello"] * 5000}), write_page_checksum=True)
    whole = path.read_bytes()
    for damaged in (whole[:-1], whole[:100], b"PAR1", b"PAR1" + bytes(100) + b"PAR1"):
        path.write_bytes(damaged)
        with opened(path) as source, pytest.raises(NotParquet):
            list(parquet.unfit_columns(source))
    middle = bytearray(whole)
    middle[40] ^= 1
    path.write_bytes(middle)
    with opened(path) as source, pytest.raises(NotParquet):
        list(parquet.rows(source, Position()))
    path.write_bytes(whole)
    assert len(read(path)) == 5000


BOMBS = {
    "one long text, 64 times": lambda: pa.table(
        {"a": pa.DictionaryArray.from_arrays(pa.array([0] * 64), pa.array(["x" * (16 << 20)]))}
    ),
    "a list of nothing": lambda: pa.table(
        {"a": pa.ListArray.from_arrays(pa.array([0, 20_000_000]), pa.nulls(20_000_000))}
    ),
    "a list of zeros": lambda: pa.table(
        {
            "a": pa.ListArray.from_arrays(
                pa.array([0, 20_000_000]), pa.array(range(1)).take([0] * 20_000_000)
            )
        }
    ),
}


@pytest.mark.parametrize("store_schema", [True, False])
@pytest.mark.parametrize("bomb", BOMBS)
def test_a_small_file_that_stands_for_gigabytes_is_refused_in_little_memory(
    bomb, store_schema, tmp_path, inside
):
    table = BOMBS[bomb]()
    file = written(tmp_path, table, compression="zstd", store_schema=store_schema)
    assert file.stat().st_size < 200_000
    code = f"""
    from strongroom.enclave.rows import parquet
    from strongroom.enclave.rows.lines import Position
    parquet.warm_up()
    source, position = os.open({str(file)!r}, os.O_RDONLY), Position()
    lockdown.limit_memory(lockdown.memory_in_use() + (512 << 20))
    found = [[position.line, str(row)] for row in parquet.rows(source, position)]
    status = Path("/proc/self/status").read_text()
    report([found, int(status.partition("VmHWM:")[2].split()[0]) >> 10])
    """
    found, peak_mib = inside(code, "none")
    assert found == [[line, "too_long"] for line in range(1, table.num_rows + 1)]
    assert peak_mib < 1000
