"""Runs that go on without a terminal: submitting one, where it stands, waiting for it, its end.

A run is submitted by starting a supervisor (``supervisor``), which is told a run's id and
nothing else. Whatever is asked twice is done once.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from strongroom.audit.events import types as events
from strongroom.audit.events.entries import Event
from strongroom.audit.log.errors import LogNotFound
from strongroom.connectors.host.errors import StackStartFailed
from strongroom.connectors.host.processes import start_module
from strongroom.enclave.plan.document import Plan
from strongroom.errors import ErrorDocument, StrongroomError
from strongroom.errors.registry import from_documents
from strongroom.isolated.start import user_environment
from strongroom.pipeline.background import registry, run_locks
from strongroom.pipeline.background.errors import (
    RunEnded,
    RunGoesOn,
    RunInterrupted,
    SupervisorLost,
)
from strongroom.pipeline.broker.reading import ReadAccess
from strongroom.pipeline.inspection import status
from strongroom.pipeline.inspection.log import Logs
from strongroom.pipeline.planning.errors import RunExists
from strongroom.pipeline.planning.intent import check_same
from strongroom.pipeline.run.admission import admit_early
from strongroom.pipeline.run.connections import connected
from strongroom.pipeline.run.errors import RunCancelled
from strongroom.pipeline.run.record.history import History
from strongroom.pipeline.run.watcher import Silent
from strongroom.pipeline.runfile.load import LoadedRun
from strongroom.pipeline.runfile.spec import RunSpec

UNDER_WAY = ("submitted", "running")
_START_LIMIT_S = 30.0
_POLL_S = 0.5
_SETTLE_S = 2.0


def submit(state: Path, loaded: LoadedRun, run: str) -> str:
    """Have a supervisor drive a run from wherever it stands; returns its state.

    ``submitted``, or ``running`` when somebody on this machine drives it already, or
    ``completed``. Raises ``RunExists`` when the id is that of another run.
    """
    state = state.expanduser().absolute()
    admit_early(loaded, run)
    access = ReadAccess(loaded.spec, run)
    stored = access.get(access.layout.plan)
    if stored is not None:
        check_same(Plan.from_json(stored), loaded.spec, access.layout)
    if run_locks.held(state, run):
        if registry.recall(state, run) != loaded.spec:
            raise RunExists(place=run, expected="this run file", actual="another one")
        return "running"
    if stored and status.run_status(loaded.spec, run, Logs(state)).state == "completed":
        return "completed"
    registry.remember(state, run, loaded.spec, loaded.source)
    _start_supervisor(state, run)
    return "submitted"


def _start_supervisor(state: Path, run: str) -> None:
    log = run_locks.file_of(state, run, "log")
    run_locks.file_of(state, run, "ended").unlink(missing_ok=True)
    try:
        process = start_module(
            "strongroom.pipeline.background.supervisor",
            (str(state), run),
            environment=user_environment(),
            log=log,
        )
    except StackStartFailed as error:
        raise SupervisorLost(place=str(log), actual=error.actual) from None

    def began() -> bool:
        return run_locks.held(state, run) or run_locks.ending(state, run) is not None

    if not _until(lambda: began() or not process.alive(), _START_LIMIT_S) or not began():
        raise SupervisorLost(place=str(log))


class LocalStatus(status.RunStatus, frozen=True, kw_only=True):
    """Where a run stands that was started from here, and what it was started from."""

    run_file: str
    intent: str
    supervised: bool


def run_status(state: Path, run: str, logs: Logs | None = None) -> LocalStatus:
    """Where a run stands: what its log tells, and whether this machine drives it.

    ``logs`` is for whoever asks of several runs, so that each log is read once.

    ``submitted`` is a run that is driven and has not said so yet, ``interrupted`` one that nobody
    here drives though the log has not seen its end.
    """
    spec = registry.recall(state, run)
    # Before the log is read: a run that ends in between is not taken for an interrupted one.
    supervised = run_locks.holder(state, run, "supervisor") is not None
    driven = supervised or run_locks.holder(state, run, "controller") is not None
    logged = msgspec.structs.asdict(status.run_status(spec, run, logs or Logs(state)))
    asked: dict[str, Any] = {**registry.asked(state, run), "supervised": supervised}
    row = LocalStatus(**logged, **asked)
    if driven and row.state not in ("running", "completed"):
        return msgspec.structs.replace(row, state="submitted", code=None, reason=None)
    if driven or row.state not in ("running", "unknown"):
        return row
    if row.state == "running":
        row = msgspec.structs.replace(row, state="interrupted")
    ending = run_locks.ending(state, run)
    if ending is None or not ending.errors:
        return row
    # It failed before it could log anything, or could not log any more.
    error = ending.errors[-1]
    return msgspec.structs.replace(
        row,
        state="failed" if row.state == "unknown" else row.state,
        code=error.code,
        reason=f"{error.place}: {error.title}",
    )


def wait(state: Path, run: str, timeout_s: float | None = None) -> LocalStatus:
    """Wait until a run has ended; returns where it stands when it completed.

    Otherwise raises what ended it. Raises ``RunGoesOn`` when the time is up first.
    """
    registry.recall(state, run)
    end = None if timeout_s is None else time.monotonic() + timeout_s

    def left(limit_s: float) -> float:
        return limit_s if end is None else min(limit_s, end - time.monotonic())

    while True:
        while not _until(lambda: not run_locks.held(state, run), left(60.0)):
            if left(1.0) <= 0:
                raise RunGoesOn(place=run)
        # Between a controller's end and the next event of the run (a cancellation, another
        # controller) lies a moment.
        if _until(lambda: run_locks.held(state, run), 0.0 if _ended(state, run) else _SETTLE_S):
            continue
        row = run_status(state, run)
        if row.state not in UNDER_WAY:
            break
    if row.state != "completed":
        raise _what_ended(state, run, row)
    return row


def cancel(state: Path, run: str) -> None:
    """End a run, and log that its owner did. Again is no error. Raises ``RunEnded``."""
    spec = registry.recall(state, run)
    row = run_status(state, run)
    if row.state in ("completed", "failed", "denied"):
        raise RunEnded(place=run, actual=" ".join(filter(None, (row.state, row.code))))
    if row.state != "cancelled":
        run_locks.end_holders(state, run)
        with run_locks.hold(state, run, "controller"):
            _log_cancellation(spec, run)


def _log_cancellation(spec: RunSpec, run: str) -> None:
    """What the run wrote stays. Raises ``RunEnded`` when it completed before it could be ended."""
    with connected(spec, run, Silent()) as connections:
        log: list[Event] = []
        with contextlib.suppress(LogNotFound):  # stopped before it had said anything
            log = connections.journal.events()
        history = History.of(event.data for event in log)
        if history.state == "completed":
            raise RunEnded(place=run, actual=history.state)
        connections.journal.record("owner", events.RunCancelled(step=len(history.steps)))
        connections.journal.record("broker")  # the lease that writing it took


def _ended(state: Path, run: str) -> bool:
    return run_locks.ending(state, run) is not None


def _what_ended(state: Path, run: str, row: LocalStatus) -> StrongroomError:
    ending = run_locks.ending(state, run)
    if row.state == "cancelled":
        return RunCancelled(place=run, actual=row.reason or "")
    if ending is not None and ending.errors:
        return ending.error()
    if row.code is None:
        return RunInterrupted(place=run, actual=f"step {row.step} of {row.steps}")
    return from_documents([ErrorDocument(code=row.code, place=run, actual=row.reason or "")])


def _until(condition: Callable[[], bool], limit_s: float) -> bool:
    end = time.monotonic() + limit_s
    while not condition():
        if time.monotonic() >= end:
            return False
        time.sleep(_POLL_S if limit_s > _POLL_S else 0.05)
    return True
