"""Where a report is written, and in which format."""

from __future__ import annotations

from pathlib import Path

import pytest

from strongroom.audit.report.formats import FORMATS
from strongroom.audit.report.gather import from_log
from strongroom.audit.report.model import ReportData
from strongroom.audit.report.planned import Planned
from strongroom.pipeline.inspection.report import save


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
