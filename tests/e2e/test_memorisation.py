"""A run that plants secrets, through the command line: the numbers leave, the secrets do not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

RUN = "remembering"
SETTINGS = "    memorisation: {canaries: 3, repetitions: 2, words: 64}\n"
CEILING = 12.0


@pytest.fixture(scope="module")
def run_file(small_job: Any) -> Path:
    path: Path = small_job.run_file(RUN)
    text = path.read_text()
    path.write_text(text.replace("    engine: ", f"{SETTINGS}    engine: "))
    return path


@pytest.fixture(scope="module")
def finished(strongroom: Any, run_file: Path) -> Any:
    result = strongroom("run", run_file, "--id", RUN)
    assert result.code == 0, result.out
    return result.data


def test_both_evaluations_report_the_exposure(finished: Any) -> None:
    for phase in ("before", "after"):
        values = finished["evaluation"][phase]
        assert 0 <= values["exposure_mean"] <= values["exposure_max"] <= CEILING
        assert set(values) == {
            "score_mean",
            "evaluator_accuracy",
            "exposure_mean",
            "exposure_max",
        }


def test_the_numbers_are_declared_and_counted(
    strongroom: Any, small_job: Any, run_file: Path
) -> None:
    planned = strongroom("plan", run_file, "--id", "remembering-plan").data["plan"]
    without = strongroom("plan", small_job.run_file("forgetting"), "--id", "forgetting").data[
        "plan"
    ]
    names = set(planned["limits"]["evaluation_metrics"])
    assert names - set(without["limits"]["evaluation_metrics"]) == {"exposure_max", "exposure_mean"}
    assert planned["capacity_bits"] > without["capacity_bits"]


def test_the_run_verifies_and_the_report_shows_the_picture(
    strongroom: Any, finished: Any, tmp_path: Path
) -> None:
    assert strongroom("verify", RUN).data["verified"] is True
    target = tmp_path / "report.html"
    assert strongroom("report", RUN, "--to", target).code == 0
    text = target.read_text()
    assert "Exposure of 3 planted secrets" in text
    assert f">{finished['evaluation']['after']['exposure_mean']:.4g} · " in text


def test_more_secrets_than_rows_are_refused_with_their_place(
    strongroom: Any, small_job: Any, run_file: Path
) -> None:
    path = small_job.run_file("too-many")
    settings = SETTINGS.replace("repetitions: 2", "repetitions: 3")
    path.write_text(path.read_text().replace("    engine: ", f"{settings}    engine: "))
    result = strongroom("validate", path)
    assert result.code == 2
    (error,) = result.errors
    assert "memorisation needs more rows than the 8" in error["expected"] + error["actual"]
