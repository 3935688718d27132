"""``strongroom status``: where a run stands, as its log tells."""

from __future__ import annotations

import base64
import contextlib
from typing import Literal, TypeAlias

import msgspec

from strongroom.audit.events import types as events
from strongroom.audit.log.errors import LogNotFound
from strongroom.enclave.plan.objects import RunLayout, complete_checkpoints
from strongroom.pipeline.broker.reading import ReadAccess
from strongroom.pipeline.inspection.errors import CheckpointUnknown
from strongroom.pipeline.inspection.log import Logs
from strongroom.pipeline.run.errors import RunCancelled
from strongroom.pipeline.run.record.history import History
from strongroom.pipeline.runfile.spec import RunSpec
from strongroom.policies.errors import AdmissionDenied
from strongroom.trainer.monitoring import seconds_left

State: TypeAlias = Literal[
    "unknown",
    "submitted",
    "running",
    "interrupted",
    "denied",
    "failed",
    "cancelled",
    "completed",
]
"""Where a run stands; ``submitted`` and ``interrupted`` depend on what runs on this machine."""


class LogSize(msgspec.Struct, frozen=True):
    """The log in which a run's state was found, and how far it went then."""

    origin: str
    size: int
    root: str


class RunStatus(msgspec.Struct, frozen=True, kw_only=True):
    """Where a run stands, as ``strongroom status --json`` prints it."""

    run: str
    state: State
    step: int
    steps: int
    reward_mean: float | None = None
    """Of the last step."""
    seconds_left: float | None = None
    held_out: dict[str, float] = {}
    """Held-out scores of checkpoints while training, by step."""
    alarms: tuple[str, ...] = ()
    metrics: dict[str, dict[str, float]] = {}
    """Held-out values before and after, by phase."""
    adapter_sha256: str | None = None
    outputs: str = ""
    plan: str | None = None
    log: LogSize | None = None
    code: str | None = None
    """Of what ended a run without a result."""
    reason: str | None = None


def run_status(spec: RunSpec, run: str, logs: Logs) -> RunStatus:
    """Where a run stands, as its log tells; ``unknown`` where it tells nothing."""
    history, log = History(), None
    with contextlib.suppress(LogNotFound):
        found = logs.of(spec, run)
        root = base64.b64encode(found.view.root).decode()
        log = LogSize(found.view.origin, found.view.size, root)
        history = History.of(event.data for event in found.events)
    total = spec.spec.training.steps
    code, reason = _why(history.last)
    return RunStatus(
        run=run,
        state=history.state,
        step=len(history.steps),
        steps=total,
        reward_mean=history.steps[-1].values.get("reward_mean") if history.steps else None,
        seconds_left=seconds_left([step.values for step in history.steps], total),
        held_out={str(step): score for step, score in sorted(history.scores.items())},
        alarms=tuple(sorted(history.alarms)),
        metrics=history.evaluations,
        adapter_sha256=(
            history.last.adapter if isinstance(history.last, events.RunCompleted) else None
        ),
        outputs=RunLayout(spec.spec.outputs, run).folder,
        plan=history.plan or None,
        log=log,
        code=code,
        reason=reason,
    )


def run_steps(spec: RunSpec, run: str, logs: Logs) -> list[dict[str, float]]:
    """Every number that a run's steps reported, in order; of a repeated step, the last."""
    return History.of(event.data for event in logs.of(spec, run).events).numbered_steps


def _why(last: events.EventData | None) -> tuple[str | None, str | None]:
    """The code of what ended a run without a result, and where it stands in the log."""
    match last:
        case events.RunFailed(code=code, stage=stage, step=step):
            return code, f"in stage {stage}, after step {step}"
        case events.RunDenied(denials=denials):
            return AdmissionDenied.code, ", ".join(f"rule {each.rule}" for each in denials)
        case events.RunCancelled(step=step):
            return RunCancelled.code, f"after step {step}"
    return None, None


def last_checkpoint(spec: RunSpec, run: str) -> int:
    """The step of a run's last complete checkpoint. Raises ``CheckpointUnknown``."""
    access = ReadAccess(spec, run)
    steps = complete_checkpoints(access.names(access.layout.checkpoints))
    if not steps:
        raise CheckpointUnknown(place=access.layout.folder)
    return steps[-1]
