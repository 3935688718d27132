"""Where a report is written, and in which format."""

from __future__ import annotations

from pathlib import Path

import pytest

from strongroom.audit.log.verify import Check
from strongroom.audit.report.formats import FORMATS
from strongroom.audit.report.gather import from_log
from strongroom.audit.report.model import ReportData
from strongroom.audit.report.planned import Planned
from strongroom.pipeline.inspection.report import report_on, save
from strongroom.pipeline.inspection.verify import Verification


@pytest.fixture
def report() -> ReportData:
    return from_log([], "nothing", [], Planned())


@pytest.mark.parametrize("name", ["a.html", "a", "a.htm", "a.pdf"])
def test_a_page_is_written_unless_the_file_s_ending_says_otherwise(
    report: ReportData, tmp_path: Path, name: str
) -> None:
    assert save(report, tmp_path / name, tmp_path / "state") == tmp_path / name
    assert (tmp_path / name).read_text().startswith("<!DOCTYPE html>")
    assert not (tmp_path / "state").exists()


def test_the_ending_chooses_the_format(report: ReportData, tmp_path: Path) -> None:
    save(report, tmp_path / "a.svg", tmp_path)
    assert (tmp_path / "a.svg").read_text().startswith("<svg ")


def test_every_format_goes_into_the_state_folder(report: ReportData, tmp_path: Path) -> None:
    page = save(report, None, tmp_path)
    assert page == tmp_path / "reports" / "nothing.html"
    found = {path.name for path in page.parent.iterdir()}
    assert found == {f"nothing{ending}" for ending in FORMATS}


@pytest.mark.parametrize(
    ("name", "detail", "verdict"),
    [
        ("tile", "", "not tested"),
        ("not in the log", "somebody's object", "not tested"),
        ("not in the log", "a delete marker", "fail"),
        ("written over", "2 versions", "fail"),
        ("rolled back", "to size 3 from 5, and put right since", "fail"),
    ],
)
def test_what_was_done_to_objects_of_the_log_is_told(name: str, detail: str, verdict: str) -> None:
    """A listing in which nothing is noted may be that of a copy, which has no versions."""
    check = Check(f"Audit log: {name}", True, "checkpoint", detail, noted=name != "tile")
    report = report_on(Verification((check,), None, (), None, {}), "r")
    assert {c.id: c.verdict for c in report.controls}["deletions"] == verdict
