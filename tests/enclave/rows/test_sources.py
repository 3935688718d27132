"""The owner's files are sealed as they were checked, whatever their format."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pyarrow
import pytest
import zstandard
from pyarrow import parquet

from strongroom.enclave.channel.errors import SourceChanged
from strongroom.enclave.rows.sources import Source
from strongroom.trainer.data.chat import FaultCode


def row(text: str) -> dict[str, object]:
    return {"messages": [{"role": "user", "content": text}]}


def write_lines(path: Path, texts: list[str]) -> None:
    path.write_text("".join(json.dumps(row(text)) + "\n" for text in texts))


def write_zstd(path: Path, texts: list[str]) -> None:
    write_lines(path, texts)
    path.write_bytes(zstandard.compress(path.read_bytes()))


def write_parquet(path: Path, texts: list[str]) -> None:
    parquet.write_table(pyarrow.Table.from_pylist([row(text) for text in texts]), path)


Write = Callable[[Path, list[str]], None]
Open = Callable[[], Source]
FORMATS = pytest.mark.parametrize("write", [write_lines, write_zstd, write_parquet])


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "rows"


@pytest.fixture
def opened(path: Path) -> Iterator[Callable[[], Source]]:
    descriptors: list[int] = []

    def open_source() -> Source:
        descriptors.append(os.open(path, os.O_RDONLY))
        return Source(descriptors[-1])

    yield open_source
    for descriptor in descriptors:
        os.close(descriptor)


@pytest.fixture
def checked(opened: Open) -> Callable[[], Source]:
    def check() -> Source:
        source = opened()
        assert list(source.faults()) == []
        return source

    return check


@FORMATS
def test_the_rows_that_were_checked_are_read_again(write: Write, path: Path, checked: Open) -> None:
    write(path, ["a", "b"])
    source = checked()
    assert source.records == 2
    assert [json.loads(line) for line in source.rows()] == [row("a"), row("b")]


@FORMATS
@pytest.mark.parametrize("later", [["a", "x"], ["b", "a"], ["a"], ["a", "b", "c"], []])
def test_other_rows_than_those_checked_are_refused(
    write: Write, later: list[str], path: Path, checked: Open
) -> None:
    write(path, ["a", "b"])
    source = checked()
    write(path, later)
    with pytest.raises(SourceChanged):
        list(source.rows())


@FORMATS
def test_a_file_that_becomes_another_format_is_refused(
    write: Write, path: Path, checked: Open
) -> None:
    write(path, ["a", "b"])
    source = checked()
    path.write_bytes(b"{}\n" * 100)
    with pytest.raises(SourceChanged):
        list(source.rows())


@FORMATS
def test_no_more_rows_are_given_out_than_were_checked(
    write: Write, path: Path, checked: Open
) -> None:
    """A file that grows without end would otherwise be sealed without end."""
    write(path, ["a", "b"])
    source = checked()
    write(path, ["a", "b", *["c"] * 1000])
    rows = source.rows()
    assert [json.loads(next(rows)) for _ in range(2)] == [row("a"), row("b")]
    with pytest.raises(SourceChanged):
        next(rows)


def test_bad_rows_are_found_by_line(path: Path, opened: Open) -> None:
    path.write_text("not json\n" + json.dumps(row("a")) + "\n[]\n")
    source = opened()
    assert list(source.faults()) == [(1, FaultCode.NOT_JSON), (3, FaultCode.NOT_OBJECT)]
    assert source.records == 1
