"""Runs that end before their last step: why, with which checkpoint, and again the same."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import pytest

from strongroom.audit.events import types as events

RUN = "ends-early"
EVALUATOR = """
import time
def evaluate(messages, ground_truth, id):
    time.sleep(0.02)
    text = messages[-1]["content"]
    return {"score": len(set(text)) / (len(text) + 1.0), "accuracy": 0.0}
"""


def of_type(auditor: Any, run: str, kind: type) -> list[Any]:
    return [event.data for event in auditor.events(run) if isinstance(event.data, kind)]


@pytest.fixture(scope="module")
def run_file(small_job: Any) -> Path:
    """No score rises by 5, so the second checkpoint is the last."""
    path: Path = small_job.run_file(
        "early",
        evaluator=EVALUATOR,
        steps=8,
        checkpoint_every=2,
        score_checkpoints=True,
        publish="best",
        early_stopping={"patience": 1, "min_gain": 5.0},
    )
    return path


def test_a_killed_run_ends_early_with_its_best_checkpoint_and_replays(
    strongroom: Any, auditor: Any, until: Any, run_file: Path
) -> None:
    process = strongroom.start("run", run_file, "--id", RUN)
    try:
        until(lambda: "checkpoints/000002/manifest.json" in auditor.names(RUN))
    finally:
        os.kill(process.pid, signal.SIGKILL)
        process.communicate()
    done = strongroom("resume", RUN)
    assert done.code == 0, done.out
    assert (done.data["trained_steps"], done.data["ended"]) == (4, "early_stopping")
    scores = {
        data.step: data.values["score_mean"]
        for data in of_type(auditor, RUN, events.EvaluationFinished)
        if data.phase == "during"
    }
    assert scores.keys() == {2, 4}
    best = 2 if scores[2] >= scores[4] else 4
    assert done.data["step"] == best
    # The chosen adapter, read back from its checkpoint, scores as it did when it was made.
    assert done.data["evaluation"]["after"]["score_mean"] == scores[best]
    [published] = of_type(auditor, RUN, events.RunPublished)
    assert published.uri.endswith(f"checkpoints/{best:06d}/")
    assert "checkpoints/000006/manifest.json" not in auditor.names(RUN)
    assert strongroom("verify", RUN).code == 0
    replayed = strongroom("replay", RUN)
    assert replayed.code == 0, replayed.out
    assert replayed.data["adapter_sha256"] == done.data["adapter_sha256"]
    controls = strongroom("report", RUN).data["controls"]
    assert (controls["replay"], strongroom.red(RUN)) == ("pass", [])


@pytest.mark.full
def test_a_run_that_learns_nothing_raises_an_alarm_and_ends_on_it(
    strongroom: Any, auditor: Any, small_job: Any
) -> None:
    constant = "def evaluate(messages, ground_truth, id): return {'score': 0.5, 'accuracy': 0.0}\n"
    path = small_job.run_file(
        "hopeless", evaluator=constant, steps=36, checkpoint_every=12, on_alarm="stop"
    )
    done = strongroom("run", path, "--id", "hopeless")
    assert done.code == 0, done.out
    assert (done.data["trained_steps"], done.data["ended"]) == (12, "alarm")
    # The tiny model, being untrained, never ends an answer either.
    told = {"cut_off", "no_signal"}
    assert set(done.data["alarms"]) == told
    raised = of_type(auditor, "hopeless", events.TrainingAlarm)
    assert {(alarm.alarm, alarm.step) for alarm in raised} == {(name, 10) for name in told}
    [row] = strongroom("status", "hopeless").data
    assert (row["state"], row["step"], row["steps"]) == ("completed", 12, 36)
    assert set(row["alarms"]) == told
    assert strongroom("verify", "hopeless").code == 0
    assert strongroom.red("hopeless") == []
