"""The examples in docs/data.md do what the page says."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

import pytest

from strongroom.enclave.channel.outgoing_words import DETAILS
from strongroom.enclave.evaluator.process import EvaluatorProcess
from strongroom.enclave.rows import parquet
from strongroom.enclave.rows.lines import Position
from strongroom.trainer.data.chat import FaultCode, Message
from strongroom.trainer.data.rows import decode_row
from strongroom.trainer.rollouts.evaluators import Job, Reply, Score, Turn

PAGE = (Path(__file__).parents[2] / "docs" / "data.md").read_text()


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)


def test_the_rows_are_rows():
    plain, with_tools = (decode_row(block.encode()) for block in blocks("json"))
    assert plain.ground_truth == with_tools.ground_truth == "42"
    assert with_tools.tools is not None
    assert with_tools.messages[1].tool_calls is not None


def test_the_parquet_file_holds_a_row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    exec(blocks("python")[0], {})
    source = os.open("rows.parquet", os.O_RDONLY)
    assert list(parquet.unfit_columns(source)) == []
    (line,) = parquet.rows(source, Position())
    os.close(source)
    assert not isinstance(line, FaultCode)
    assert decode_row(line).tools == [{"type": "function", "function": {"name": "add"}}]


def test_the_environment_talks():
    row = decode_row(blocks("json")[0].encode())
    job = Job(messages=row.chat(), ground_truth=row.ground_truth, extra=row.extra)
    call = json.dumps({"name": "add", "arguments": {"a": 12, "b": 30}})
    with EvaluatorProcess.start() as process:
        process.load(blocks("python")[1].encode(), ["calls"], environment=True)
        assert process.reset([job]) == [None]
        for text, told in (
            (f"<tool_call>{call}</tool_call>", "42"),
            ("<tool_call>add</tool_call>", "That is no call of add."),
        ):
            said = (Message(role="tool", content=told),)
            assert process.step([Reply(episode=0, text=text)]) == [Turn(messages=said, done=False)]
        assert process.step([Reply(episode=0, text="It is 42.")])[0].done
        assert process.score([job]) == [Score(score=1.0, metrics={"calls": 2.0})]


def test_every_word_for_a_bad_row_is_on_the_page():
    for code in FaultCode:
        assert f"`{code}`" in PAGE, code
        assert str(code) in DETAILS
