"""The one way to print: data is never markup, and what programs read is never changed."""

from __future__ import annotations

import io
import json

import msgspec
import pytest

from strongroom.pipeline.cli.console import Output, Styled, Table, print_json
from support.screens import Screen, plain

HOSTILE = "[link=https://evil]a[/link] [/x]y \x1b]0;owned\x07 \u202e :boom: \\[bold]"
INERT = r"[link=https://evil]a[/link] [/x]y \x1b]0;owned\x07 \u202e :boom: \[bold]"


@pytest.fixture(autouse=True)
def narrow(monkeypatch: pytest.MonkeyPatch) -> None:
    """A narrow terminal, and a parent that would like to have colours everywhere."""
    monkeypatch.setenv("COLUMNS", "60")
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("FORCE_COLOR", "1")


def pipe() -> tuple[Output, io.StringIO]:
    stream = io.StringIO()
    return Output(lambda: stream), stream


def terminal() -> tuple[Output, io.StringIO]:
    stream = Screen()
    return Output(lambda: stream), stream


def test_a_line_is_one_line_without_colours_where_nobody_looks() -> None:
    output, stream = pipe()
    output.say(Styled("verified", "bold green"), ": ", "digest " * 40)
    assert stream.getvalue() == "verified: " + "digest " * 40 + "\n"


def test_a_terminal_gets_colours_and_the_whole_line() -> None:
    output, stream = terminal()
    output.say(Styled("verified", "green"), ": ", "digest " * 40)
    assert "\x1b[32mverified" in stream.getvalue()
    assert plain(stream.getvalue()) == "verified: " + "digest " * 40 + "\n"


@pytest.mark.parametrize("make", [pipe, terminal])
def test_data_is_no_markup(make) -> None:
    output, stream = make()
    output.say(HOSTILE, Styled(HOSTILE, "red"))
    table = Table(HOSTILE, HOSTILE, "b")
    table.row([HOSTILE, HOSTILE], Styled(HOSTILE, "red"))
    output.table(table)
    shown = plain(stream.getvalue())
    assert all(char == "\n" or char.isprintable() for char in shown)
    assert "\x1b]" not in stream.getvalue()
    assert shown.startswith(INERT + INERT + "\n")


def test_a_table_is_neither_folded_nor_cut_where_nobody_looks() -> None:
    output, stream = pipe()
    table = Table("Digests", "name", "digest", right=("name",))
    table.row("a", "sha256:" + "0" * 300)
    table.row("long name", ["one", "two"])
    output.table(table)
    lines = [line.rstrip() for line in stream.getvalue().splitlines()]
    assert lines == [
        "Digests",
        "     name  digest",
        "        a  sha256:" + "0" * 300,
        "long name  one",
        "           two",
    ]


def test_a_table_fits_a_terminal_and_loses_nothing() -> None:
    output, stream = terminal()
    table = Table("Digests", "name", "digest")
    table.row("a", "0123456789" * 30)
    output.table(table)
    lines = plain(stream.getvalue()).splitlines()
    assert all(len(line) <= 60 for line in lines)
    assert "".join(lines[2:]).replace(" ", "").removeprefix("a") == "0123456789" * 30


def test_json_is_one_line_of_visible_ascii(capsys: pytest.CaptureFixture[str]) -> None:
    data = {"größer": HOSTILE + "\x7f\u2028👍", "n": 1}
    print_json(data)
    said = capsys.readouterr().out
    assert said.count("\n") == 1
    assert said.rstrip("\n").isascii()
    assert said.rstrip("\n").isprintable()
    assert json.loads(said) == data


def test_a_name_that_is_no_text_makes_json_that_every_reader_takes(
    capsys: pytest.CaptureFixture[str],
) -> None:
    print_json({"name": "a\udc80b\ud83d\udc4d\\udc80"})  # the last is a backslash and letters
    said = capsys.readouterr().out
    assert msgspec.json.decode(said) == {"name": "a\ufffdb👍\\udc80"}
    with pytest.raises(msgspec.DecodeError):
        msgspec.json.decode(json.dumps({"name": "a\udc80"}))
