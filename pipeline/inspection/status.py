"""Looking at a run afterwards: status, verification, report. Nothing here needs a key."""

from __future__ import annotations

import contextlib
from typing import Any

from strongroom.audit.errors import LogNotFound
from strongroom.audit.events import types as events
from strongroom.audit.events.entries import from_entry
from strongroom.audit.log.note import LogKey
from strongroom.audit.log.verify import Check, read_log
from strongroom.crypto.dsse import KeyRef, public_key
from strongroom.pipeline.broker.reading import ReadAccess, ReadOnlyLog
from strongroom.pipeline.inspection.errors import CheckpointUnknown
from strongroom.pipeline.inspection.verify import verify
from strongroom.pipeline.planning.errors import ReleaserMissing
from strongroom.pipeline.planning.objects import RunLayout, complete_checkpoints
from strongroom.pipeline.releaser.client import ReleaserClient
from strongroom.pipeline.run.errors import RunCancelled
from strongroom.pipeline.run.history import History
from strongroom.pipeline.run.journal import log_origin
from strongroom.pipeline.runfile.spec import RunSpec
from strongroom.policies.errors import AdmissionDenied
from strongroom.trainer.monitoring import seconds_left


def log_vkey(spec: RunSpec) -> str:
    """The log's verifier key, asked of the key's owner; an auditor brings their own instead."""
    if spec.spec.keys.releaser is None:
        raise ReleaserMissing(place="spec.keys.releaser")
    releaser = ReleaserClient(spec.spec.keys.releaser)
    audit = KeyRef(releaser.public_keys(spec.spec.keys.audit).audit)
    return LogKey(log_origin(spec.spec.audit), public_key(audit)).vkey()


def verify_run(spec: RunSpec, run: str, vkey: str = "") -> tuple[Check, ...]:
    """Every check of a run; see ``pipeline.inspection.verify``."""
    return verify(ReadAccess(spec, run), run, vkey or log_vkey(spec)).checks


def run_status(spec: RunSpec, run: str, vkey: str = "") -> dict[str, Any]:
    """Where a run stands, as its log tells; ``unknown`` where it tells nothing."""
    store = ReadOnlyLog(ReadAccess(spec, run))
    history, log = History(), None
    with contextlib.suppress(LogNotFound):
        view = read_log(store, vkey or log_vkey(spec), log_origin(spec.spec.audit))
        log = {"origin": view.origin, "size": view.size, "root": view.root.hex()}
        for event in (from_entry(entry) for entry in view.entries):
            if event.run == run:
                history.apply(event.data)
    total = spec.spec.training.steps
    code, reason = _why(history.last)
    return {
        "run": run,
        "state": history.state,
        "step": len(history.steps),
        "steps": total,
        "reward_mean": history.steps[-1].values.get("reward_mean") if history.steps else None,
        "seconds_left": seconds_left([step.values for step in history.steps], total),
        "held_out": {str(step): score for step, score in sorted(history.scores.items())},
        "alarms": sorted(history.alarms),
        "metrics": history.evaluations,
        "adapter_sha256": (
            history.last.adapter if isinstance(history.last, events.RunCompleted) else None
        ),
        "outputs": RunLayout(spec.spec.outputs, run).folder,
        "plan": history.plan or None,
        "log": log,
        "code": code,
        "reason": reason,
    }


def run_steps(spec: RunSpec, run: str, vkey: str = "") -> list[dict[str, float]]:
    """Every number that a run's steps reported, in order; of a repeated step, the last."""
    history = History()
    view = read_log(
        ReadOnlyLog(ReadAccess(spec, run)), vkey or log_vkey(spec), log_origin(spec.spec.audit)
    )
    for event in (from_entry(entry) for entry in view.entries):
        if event.run == run:
            history.apply(event.data)
    return history.numbered_steps


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


def denials(spec: RunSpec, run: str, vkey: str = "") -> list[dict[str, str]]:
    """Every refusal of a run in its log: policy rules and the releaser's reasons, in order."""
    store = ReadOnlyLog(ReadAccess(spec, run))
    view = read_log(store, vkey or log_vkey(spec), log_origin(spec.spec.audit))
    found: list[dict[str, str]] = []
    for event in (from_entry(entry) for entry in view.entries):
        if event.run != run:
            continue
        reasons: list[str] = []
        if isinstance(event.data, events.RunDenied):
            reasons = [f"rule {item.rule} ({item.control})" for item in event.data.denials]
        elif isinstance(event.data, events.KeyDenied):
            reasons = list(event.data.reasons)
        found += [{"time": event.time, "event": event.type, "reason": each} for each in reasons]
    return found
