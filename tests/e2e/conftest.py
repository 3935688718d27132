"""The command line and what an auditor sees, on the stack that all workers share."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from strongroom.pipeline.background import run_locks
from support.auditor import Auditor
from support.command import Strongroom
from support.family import holder, stopped
from support.shared import Shared
from support.small_job import SLOW, SmallJob

WHOLE = "whole"
CANARY = "cerulean-estuary-8150"


@pytest.fixture(scope="session")
def strongroom(small_job: SmallJob) -> Strongroom:
    """The command line."""
    return Strongroom(small_job.stack.state)


@pytest.fixture(scope="session")
def auditor(small_job: SmallJob) -> Auditor:
    """Who may look at everything."""
    return Auditor(small_job.stack)


@pytest.fixture(scope="session")
def until() -> Callable[..., None]:
    """Wait until a condition holds; only pytest's own limit ends it before, on any machine."""

    def wait(condition: Callable[[], object]) -> None:
        while not condition():
            time.sleep(0.05)  # looking costs time, too

    return wait


@pytest.fixture(scope="session")
def slow_run_file(small_job: SmallJob) -> Path:
    """The run file of ``whole``, and of runs that are killed."""
    return small_job.run_file("slow", **SLOW)


@pytest.fixture(scope="session")
def whole(
    shared: Shared, small_job: SmallJob, slow_run_file: Path, until: Callable[..., None]
) -> dict[str, Any]:
    """Where a detached run stands at its end that nobody disturbs.

    Killed runs of the same file have to end with its adapter, to the byte.
    """
    found: dict[str, Any] = shared.once(
        "whole", lambda _: detached(small_job, slow_run_file, until)
    )
    return found


def detached(job: SmallJob, run_file: Path, until: Callable[..., None]) -> dict[str, Any]:
    """Submit the run, look at it while it stands still, and wait for its end."""
    state, strongroom = job.stack.state, Strongroom(job.stack.state)
    first = strongroom("run", run_file, "--detach", "--id", WHOLE, environment={"TOKEN": CANARY})
    assert (first.code, first.data) == (0, {"run": WHOLE, "state": "submitted"})
    supervisor = holder(state, WHOLE, "supervisor")
    assert supervisor
    try:
        until(lambda: holder(state, WHOLE, "controller"))
        controller = holder(state, WHOLE, "controller")
        with stopped([controller]):  # a run that stands still is one that goes on
            # Again, it is the same run; with another file, another one's. Nobody else may drive it.
            again = strongroom("run", run_file, "--detach", "--id", WHOLE)
            assert (again.code, again.data) == (0, {"run": WHOLE, "state": "running"})
            assert holder(state, WHOLE, "supervisor") == supervisor
            late = strongroom("wait", WHOLE, "--timeout", "0")
            assert (late.code, late.codes) == (1, ["SR-RUN-220"])
            other = job.run_file("detached-other", steps=1)
            refused = strongroom("run", other, "--detach", "--id", WHOLE)
            assert (refused.code, refused.codes) == (2, ["SR-RUN-202"])
            busy = strongroom("resume", WHOLE)
            assert (busy.code, busy.codes) == (2, ["SR-RUN-216"])
            row = strongroom.status(WHOLE)
            assert row["state"] in ("submitted", "running")
            assert row["supervised"] is True
            assert row["adapter_sha256"] is None
            # In a session of its own, told a run's id and nothing else.
            assert os.getsid(supervisor) == supervisor
            told = Path(f"/proc/{supervisor}/cmdline").read_bytes().split(b"\0")[-3:-1]
            assert told == [str(state).encode(), WHOLE.encode()]
            for process in (supervisor, controller):
                assert CANARY.encode() not in Path(f"/proc/{process}/environ").read_bytes()
        done = strongroom("wait", WHOLE)
        assert done.code == 0, done.out
    finally:
        run_locks.end_holders(state, WHOLE)
    return dict(done.data)
