"""``strongroom report``: what it prints of a run that is not as it should be, and how it ends."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from strongroom.audit.log.verify import COMPLETE, Check
from strongroom.audit.report.gather import from_log
from strongroom.audit.report.planned import Planned
from strongroom.pipeline.cli.inspect import report as command
from strongroom.pipeline.cli.main import app
from strongroom.pipeline.inspection import report

GOOD = Check("Audit log: checkpoint", True, "checkpoint")
BAD = Check("Audit log: tile", False, "tile/0/000", "SR-AUDIT-008: differs")
UNFINISHED = Check(COMPLETE, False, "run.completed of r", "it is failed")


def end(monkeypatch: pytest.MonkeyPatch, checks: list[Check], *options: str) -> int:
    found = from_log([], "r", checks, Planned())
    monkeypatch.setattr(command, "reading", lambda *_, **__: (None, "r", None))
    monkeypatch.setattr(report, "write_report", lambda *_: (Path("r.html"), found))
    with pytest.raises(SystemExit) as ended:
        app(["report", "r", *options])
    return int(ended.value.code or 0)


@pytest.mark.parametrize(
    ("checks", "code", "words"),
    [
        ([GOOD], 0, ""),
        ([GOOD, UNFINISHED], 1, ""),
        ([GOOD, BAD], 5, "NOT VERIFIED: 1 of 2 checks failed"),
        ([BAD, UNFINISHED], 5, "NOT VERIFIED: 2 of 2 checks failed"),
        ([], 5, "NOT VERIFIED: no check could be made"),
    ],
)
def test_it_ends_as_verify_does(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    checks: list[Check],
    code: int,
    words: str,
) -> None:
    assert end(monkeypatch, checks) == code
    shown = capsys.readouterr()
    assert shown.out == "r.html\n"
    assert words in shown.err
    assert bool(words) == ("NOT VERIFIED" in shown.err)


def test_programs_get_the_verdict_of_each_control(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert end(monkeypatch, [GOOD, BAD], "--json") == 5
    told = json.loads(capsys.readouterr().out)
    assert (told["run"], told["report"], told["verified"]) == ("r", "r.html", False)
    assert told["controls"]["log"] == "fail"
    assert told["controls"]["roles"] == "by design"
