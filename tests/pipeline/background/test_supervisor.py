"""The supervisor: what it starts again, what it leaves, and how little it holds."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from strongroom.errors import StrongroomError
from strongroom.isolated.start import run
from strongroom.pipeline.background import run_locks, supervisor
from strongroom.pipeline.broker.errors import BrokerLost
from strongroom.pipeline.planning.errors import FactMissing, IdentityMissing
from strongroom.pipeline.releaser.errors import ReleaserUnreachable
from strongroom.pipeline.run.errors import RunFinished

RUN = "feedback-1"
Ends = StrongroomError | BaseException | None


@pytest.fixture
def supervised(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., int]:
    """Supervises controllers that end so, one after the other; how many were started."""

    def run(*endings: Ends) -> int:
        left = list(endings)
        started: list[Ends] = []

        def controller(state: Path, name: str) -> None:
            ending = left.pop(0)
            started.append(ending)
            try:
                with run_locks.controlling(state, name):
                    if ending is not None:
                        raise ending
            except BaseException as error:
                assert error is ending  # noqa: PT017 - as a child would end, with its note left

        monkeypatch.setattr(supervisor, "_run_controller", controller)
        monkeypatch.setattr(supervisor, "PAUSES_S", (0.0,) * len(supervisor.PAUSES_S))
        supervisor.supervise(tmp_path, RUN)
        return len(started)

    return run


KILLED = KeyboardInterrupt()


def test_a_run_that_completes_is_driven_once(supervised):
    assert supervised(None, None) == 1


@pytest.mark.parametrize("ending", [KILLED, BrokerLost(), ValueError()])
def test_killed_and_platform_faults_are_tried_again(supervised, ending):
    assert supervised(ending, ending, None, None) == 3


@pytest.mark.parametrize(
    "error", [FactMissing(), IdentityMissing(), ReleaserUnreachable(), RunFinished()]
)
def test_ordinary_failures_end_it(supervised, error):
    assert supervised(error, None) == 1


def test_it_gives_up(supervised):
    assert supervised(*[KILLED] * 20) == len(supervisor.PAUSES_S)


def test_pauses_grow():
    assert list(supervisor.PAUSES_S) == sorted(supervisor.PAUSES_S)
    assert len(supervisor.PAUSES_S) <= 5


def test_there_is_one_supervisor(tmp_path):
    """A second one ends at once, without an error and without a controller."""
    with run_locks.hold(tmp_path, RUN, "supervisor"):
        done = run(supervisor.__name__, (str(tmp_path), RUN), environment={})
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")


def test_it_imports_no_client_and_no_trainer():
    """It cannot reach a bucket, a key service or a model, having no code for it."""
    names = [
        "torch",
        "transformers",
        "boto3",
        "hvac",
        "obstore",
        "requests",
        "apache_beam",
        "google",
    ]
    module = "strongroom.pipeline.background.supervisor"
    code = f"import sys, {module}; print([n for n in {names} if n in sys.modules])"
    command = [sys.executable, "-c", code]
    done: Any = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_what_ends_a_supervisor_is_one_line_of_the_runs_log() -> None:
    done = run(supervisor.__name__, ("/dev/null", "r\x1b]0;owned\x07"), environment={})
    assert done.returncode == 1
    assert done.stderr.count(b"\n") == 1
    assert b"SR-" in done.stderr
    assert b"\x1b" not in done.stderr
