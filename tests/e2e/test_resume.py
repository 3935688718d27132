"""Killed runs: whatever dies and whenever, ``resume`` ends with the same adapter, to the byte."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from strongroom.audit.events import types as events
from strongroom.audit.log.verify import COMPLETE
from support.family import alive, below

WHOLE = "whole"


@contextmanager
def started(process: subprocess.Popen[str], until: Callable[..., None]) -> Iterator[int]:
    """A command under way; afterwards nothing of its process tree may be left."""
    try:
        yield process.pid
    finally:
        family = below(process.pid)
        process.kill()
        process.communicate()
    until(lambda: not alive(family))


# After which object to kill, which one must not be there yet, and which steps the log may hold:
# an object is there a moment before the log says so.
MOMENTS = {
    "verifying": ("keys.json", "checkpoints/000002/manifest.json", (0,)),
    "training": ("checkpoints/000002/manifest.json", "checkpoints/000006/manifest.json", (0, 2)),
    "trained": ("checkpoints/000006/manifest.json", "result.json", (4, 6)),
}


@pytest.mark.parametrize(
    "moment",
    [
        pytest.param("verifying", marks=pytest.mark.full),
        pytest.param("training", marks=pytest.mark.full),
        pytest.param("trained", marks=pytest.mark.full),
    ],
)
def test_a_killed_run_resumes_to_the_same_adapter(
    strongroom: Any, auditor: Any, until: Any, slow_run_file: Path, whole: Any, moment: str
) -> None:
    run = f"resume-{moment}"
    there, not_yet, steps = MOMENTS[moment]
    with started(strongroom.start("run", slow_run_file, "--id", run), until) as controller:
        until(auditor.wrote(run, there))
        os.kill(controller, signal.SIGKILL)
        assert not_yet not in auditor.names(run)
    left = strongroom("verify", run)
    assert left.code == 1, left.out
    assert [check["name"] for check in left.data["checks"] if not check["ok"]] == [COMPLETE]
    assert set(auditor.of(run)) <= {check["object"] for check in left.data["checks"]}
    resumed = strongroom("resume", run)
    assert resumed.code == 0, resumed.out
    assert "Traceback" not in resumed.err
    assert resumed.data["adapter_sha256"] == whole["adapter_sha256"]
    assert resumed.data["evaluation"] == whole["metrics"]
    [taken_up] = [
        event.data for event in auditor.events(run) if isinstance(event.data, events.RunResumed)
    ]
    assert taken_up.step in steps
    assert auditor.types(run)[-1] == "run.completed"
    assert strongroom.red(run) == []
    twin = {uri.replace(WHOLE, run) for uri in auditor.of(WHOLE)}
    assert set(auditor.of(run)) == twin


def test_a_second_run_with_the_id_of_another_changes_nothing(
    strongroom: Any, auditor: Any, small_job: Any, whole: Any
) -> None:
    run = WHOLE
    other = small_job.run_file("other", steps=1)
    registered = small_job.stack.state / "runs" / f"{run}.json"
    before = (auditor.of(run), auditor.types(run), registered.read_bytes())
    result = strongroom("run", other, "--id", run)
    assert (result.code, result.codes) == (2, ["SR-RUN-202"])
    assert result.errors[0]["place"] == f"s3://acme-data/runs/{run}/plan.json"
    assert (auditor.of(run), auditor.types(run), registered.read_bytes()) == before


def test_a_finished_run_is_not_resumed(strongroom: Any, auditor: Any, whole: Any) -> None:
    before = auditor.types(WHOLE)
    result = strongroom("resume", WHOLE)
    assert (result.code, result.codes) == (2, ["SR-RUN-204"])
    assert auditor.types(WHOLE) == before


def test_a_run_that_nobody_knows_is_not_resumed(strongroom: Any) -> None:
    result = strongroom("resume", "resume-nobody")
    assert (result.code, result.codes) == (2, ["SR-RUN-203"])
