"""What a person sees of a run: a line per stage, and bars where there is a terminal."""

from __future__ import annotations

import io
import re
from pathlib import Path

import pytest

from strongroom.pipeline.cli.console import Output
from strongroom.pipeline.cli.progress import STAGES, Terminal
from strongroom.pipeline.run import session
from strongroom.pipeline.run.watcher import Silent
from support.screens import Screen, plain


@pytest.fixture(autouse=True)
def wide(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "120")
    monkeypatch.setenv("TERM", "xterm")


def screen(*, terminal: bool) -> tuple[Output, io.StringIO]:
    stream = Screen() if terminal else io.StringIO()
    return Output(lambda: stream), stream


def play(watcher: session.Watcher) -> None:
    watcher.stage("plan")
    watcher.fact("4 shards")
    watcher.fact("1.2 MB")
    watcher.stage("verify")
    for done in range(1, 4):
        watcher.progress("verify", done, 3)
    watcher.stage("train")
    for step in range(1, 5):
        watcher.step(step, {"reward_mean": step / 10, "loss": 0.5})


def break_off(terminal: Terminal, *stages: str) -> None:
    """Enter these stages and fail in the last one."""

    def fail() -> None:
        with terminal as watcher:
            for stage in stages:
                watcher.stage(stage)
            raise ValueError("x")

    with pytest.raises(ValueError, match="x"):
        fail()


def test_lines_without_a_terminal():
    output, stream = screen(terminal=False)
    with Terminal(output, steps=4) as watcher:
        play(watcher)
    lines = stream.getvalue().splitlines()
    assert [line[:2] for line in lines] == ["✓ "] * 3
    assert [
        STAGES[name] in line for name, line in zip(["plan", "verify", "train"], lines, strict=True)
    ]
    assert lines[0].endswith("4 shards · 1.2 MB")
    assert re.search(r"\d+\.\d s$", lines[1])
    assert "\x1b" not in stream.getvalue()


def test_a_line_is_there_as_soon_as_its_stage_is_over():
    output, stream = screen(terminal=False)
    with Terminal(output) as watcher:
        watcher.stage("plan")
        assert STAGES["plan"] not in stream.getvalue()
        watcher.stage("admit")
        assert STAGES["plan"] in stream.getvalue()
        assert STAGES["admit"] not in stream.getvalue()


def test_bars_on_a_terminal():
    output, stream = screen(terminal=True)
    with Terminal(output, steps=4) as watcher:
        watcher.stage("train")
        watcher.step(3, {"reward_mean": 0.256})
        watcher._bars.refresh()
        shown = plain(stream.getvalue())
        assert "3/4" in shown
        assert "reward 0.26" in shown
        watcher.stage("verify")
        watcher.progress("verify", 2, 9)
        watcher._bars.refresh()
        assert "2/9" in plain(stream.getvalue())
    assert plain(stream.getvalue()).count("✓") == 2


def test_the_cursor_comes_back():
    output, stream = screen(terminal=True)
    break_off(Terminal(output), "train")
    text = stream.getvalue()
    assert text.rindex("\x1b[?25h") > text.rindex("\x1b[?25l")


@pytest.mark.parametrize("terminal", [False, True])
def test_a_failed_stage_is_marked(terminal):
    output, stream = screen(terminal=terminal)
    break_off(Terminal(output), "plan", "verify")
    text = plain(stream.getvalue())
    assert f"✓ {STAGES['plan']}" in text
    assert f"✗ {STAGES['verify']}" in text


def test_nothing_to_show():
    output, stream = screen(terminal=False)
    with Terminal(output) as watcher:
        watcher.progress("verify", 1, 2)
        watcher.step(1, {})
    assert stream.getvalue().strip() == ""


def test_notes_belong_to_their_stage():
    output, stream = screen(terminal=False)
    with Terminal(output) as watcher:
        watcher.stage("plan")
        watcher.fact("one")
        watcher.stage("admit")
        watcher.stage("enclave")
    first, *others = stream.getvalue().splitlines()
    assert first.endswith("one")
    assert not [line for line in others if "one" in line]


def test_what_looks_like_markup_is_text():
    output, stream = screen(terminal=False)
    with Terminal(output) as watcher:
        watcher.stage("plan")
        watcher.fact("[bold]x[/nothing]")
    assert "[bold]x[/nothing]" in stream.getvalue()


def test_an_unknown_stage_keeps_its_name():
    output, stream = screen(terminal=False)
    with Terminal(output) as watcher:
        watcher.stage("polish")
    assert "✓ polish" in stream.getvalue()


def test_every_stage_of_a_session_has_a_line():
    source = Path(session.__file__).read_text()
    entered = set(re.findall(r'\.enter\("(\w+)"\)', source))
    assert entered
    assert entered <= set(STAGES)


def test_silence(capsys):
    play(Silent())
    captured = capsys.readouterr()
    assert captured.out == captured.err == ""
