"""Where a run stands and how waiting ends, from what the log and this machine's notes say."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from strongroom.errors import ErrorList, StrongroomError
from strongroom.errors.defect import CodeUnknown
from strongroom.pipeline.background import registry, run_locks, submit
from strongroom.pipeline.background.errors import RunEnded, RunGoesOn, RunInterrupted
from strongroom.pipeline.broker.errors import BrokerLost
from strongroom.pipeline.inspection import status
from strongroom.pipeline.planning.errors import FactMissing, RunUnknown
from strongroom.pipeline.run.errors import RunCancelled
from strongroom.pipeline.runfile.load import LoadedRun
from strongroom.policies.errors import AdmissionDenied

RUN = "feedback-1"
DIGEST = "sha256:" + "a" * 64
Tell = Callable[..., None]


@pytest.fixture
def log(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What the log tells, instead of reading one."""
    told = {"run": RUN, "state": "unknown", "step": 3, "steps": 6, "code": None, "reason": None}
    monkeypatch.setattr(status, "run_status", lambda *_: status.RunStatus(**told))
    monkeypatch.setattr(submit, "_SETTLE_S", 0.1)
    return told


@pytest.fixture
def state(tmp_path: Path, load_example: Callable[..., LoadedRun], example: str) -> Path:
    """A state folder that knows the run."""
    registry.remember(tmp_path, RUN, load_example(example).spec, tmp_path / "run.yaml")
    return tmp_path


def failed_with(state: Path, error: StrongroomError) -> None:
    with pytest.raises(type(error)), run_locks.controlling(state, RUN):
        raise error


@pytest.mark.parametrize(
    ("logged", "driven", "shown"),
    [
        ("unknown", False, "unknown"),
        ("unknown", True, "submitted"),
        ("running", True, "running"),
        ("running", False, "interrupted"),
        ("failed", False, "failed"),
        ("failed", True, "submitted"),
        ("cancelled", False, "cancelled"),
        ("cancelled", True, "submitted"),
        ("denied", False, "denied"),
        ("completed", False, "completed"),
        ("completed", True, "completed"),
    ],
)
def test_log_and_machine_together(logged, driven, shown, log, state):
    log["state"] = logged
    if driven:
        with run_locks.hold(state, RUN, "supervisor"):
            row = submit.run_status(state, RUN)
    else:
        row = submit.run_status(state, RUN)
    assert (row.state, row.supervised) == (shown, driven)


def test_a_foreground_run_is_driven_and_not_supervised(log, state):
    log["state"] = "running"
    with run_locks.controlling(state, RUN):
        row = submit.run_status(state, RUN)
    assert (row.state, row.supervised) == ("running", False)


@pytest.mark.parametrize(("logged", "shown"), [("unknown", "failed"), ("running", "interrupted")])
def test_what_failed_before_it_could_be_logged(logged, shown, log, state):
    failed_with(state, FactMissing(place="s3://b/x"))
    log["state"] = logged
    row = submit.run_status(state, RUN)
    assert (row.state, row.code) == (shown, "SR-RUN-205")
    assert row.reason.startswith("s3://b/x: ")


def test_waiting_ends_as_the_run_did(log, state):
    log["state"] = "completed"
    assert submit.wait(state, RUN).state == "completed"
    log["state"] = "running"
    with pytest.raises(RunInterrupted):
        submit.wait(state, RUN)
    error = ErrorList([FactMissing(place="a"), BrokerLost(place="b")])
    failed_with(state, error)
    log |= {"state": "failed", "code": "SR-RUN-205"}
    with pytest.raises(ErrorList) as caught:
        submit.wait(state, RUN)
    assert str(caught.value) == str(error)


def test_waiting_for_what_ended_elsewhere(log, state):
    """The log names a code, and the code an error with its exit code."""
    log |= {"state": "denied", "code": AdmissionDenied.code, "reason": "rule lease_lifetime"}
    with pytest.raises(AdmissionDenied) as caught:
        submit.wait(state, RUN)
    assert (caught.value.place, caught.value.actual) == (RUN, "rule lease_lifetime")


def test_waiting_tells_of_each_error_in_a_list_within_a_list(log, state):
    failed_with(state, ErrorList([BrokerLost(place="b"), ErrorList([FactMissing(place="a")])]))
    log |= {"state": "failed", "code": "SR-RUN-205"}
    with pytest.raises(ErrorList) as caught:
        submit.wait(state, RUN)
    assert [each.place for each in caught.value.errors] == ["b", "a"]


def test_waiting_names_a_logged_code_that_is_no_error_here(log, state):
    """``SR-MANY`` stands in the logs of earlier versions."""
    log |= {"state": "failed", "code": "SR-MANY", "reason": "in stage plan, after step 0"}
    with pytest.raises(CodeUnknown, match="SR-MANY in stage plan"):
        submit.wait(state, RUN)


def test_a_cancelled_run_says_so_whatever_ended_before(log, state):
    failed_with(state, BrokerLost())
    log |= {"state": "cancelled", "reason": "after step 3"}
    with pytest.raises(RunCancelled):
        submit.wait(state, RUN)


def test_waiting_has_a_limit(log, state):
    with run_locks.hold(state, RUN, "supervisor"), pytest.raises(RunGoesOn):
        submit.wait(state, RUN, 0.2)
    log["state"] = "completed"
    assert submit.wait(state, RUN, 0.0)


def test_waiting_outlasts_a_change_of_drivers(log, state, monkeypatch):
    """Between two controllers nobody drives the run for a moment; that is not its end."""
    monkeypatch.setattr(submit, "_SETTLE_S", 3.0)
    log["state"] = "running"
    found: list[Any] = []
    with run_locks.hold(state, RUN, "supervisor"):
        waiting = threading.Thread(target=lambda: found.append(submit.wait(state, RUN)))
        waiting.start()
        time.sleep(0.3)
    time.sleep(0.6)
    with run_locks.hold(state, RUN, "supervisor"):
        time.sleep(1.0)
        log["state"] = "completed"
    waiting.join(10)
    assert [row.state for row in found] == ["completed"]


@pytest.mark.parametrize("ended", ["completed", "failed", "denied"])
def test_an_ended_run_is_not_cancelled(ended, log, state):
    log["state"] = ended
    with pytest.raises(RunEnded) as caught:
        submit.cancel(state, RUN)
    assert caught.value.actual == ended


def test_a_cancelled_run_is_not_cancelled_twice(log, state):
    log["state"] = "cancelled"
    submit.cancel(state, RUN)


@pytest.mark.parametrize("ask", [submit.run_status, submit.wait, submit.cancel])
def test_a_run_that_nobody_started_here(ask, tmp_path):
    with pytest.raises(RunUnknown):
        ask(tmp_path, RUN)


def test_positions_come_back_with_the_run(state, load_example, example):
    loaded = load_example(example)
    path = state / "run.yaml"
    path.write_text(example)
    found = registry.reload(state, RUN)
    assert found.spec == loaded.spec
    assert found.position("spec.access.0.ttl") == loaded.position("spec.access.0.ttl")
    path.unlink()
    assert registry.reload(state, RUN).position("spec.access.0.ttl") == "run.yaml:1:1"
