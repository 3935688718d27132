"""What a report says, gathered from a run's events.

Pure: the log's events, the checks that were made and what was planned go in, ``ReportData`` comes
out. Nothing here formats. What the log does not show is left empty and is reported as not shown.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import TypeVar

from strongroom.audit.events import types
from strongroom.audit.events.entries import Event
from strongroom.audit.log.verify import Check, LogView
from strongroom.audit.report.charts import Series
from strongroom.audit.report.controls import control_matrix
from strongroom.audit.report.model import (
    CheckGroup,
    Dataset,
    HeldOut,
    LogHead,
    Planned,
    ReportData,
    Timed,
)
from strongroom.audit.report.remembered import remembered

SHOWN_FIRST = (
    "reward_mean",
    "zero_variance_share",
    "entropy",
    "completion_tokens_mean",
    "loss",
    "kl",
)
"""Step metrics that get a chart, in this order; others follow where these are missing."""

MAX_CURVES = 4

LOOKED = ("rollouts.opened", "adapter.exported")
"""What a key holder may do with a run when it has long ended."""

SCORE = "score_mean"
"""The held-out result of a run whose evaluator declares no metric."""

_T = TypeVar("_T", bound=types.EventData)


def from_log(
    entries: Sequence[Event],
    run: str,
    checks: Sequence[Check],
    planned: Planned,
    *,
    log: LogView | None = None,
) -> ReportData:
    """Gather one run's report.

    ``entries`` are the log's events, of this and other runs, in log order; ``log`` is the verified
    log.
    """
    events = [event for event in entries if event.run == run]
    admitted = _last(events, types.RunAdmitted)
    completed = _last(events, types.RunCompleted)
    published = _last(events, types.RunPublished)
    enclaves = _timed(events, types.EnclaveStarted)
    checkpoints = _timed(events, types.CheckpointWritten)
    grouped = _group(checks)
    verified = bool(grouped) and not any(group.failed for group in grouped)
    steps = [event.data for event in events if isinstance(event.data, types.TrainingStep)]
    outcome, error = _outcome(events)
    memory = remembered(events, planned.planted)
    return ReportData(
        run=run,
        outcome=outcome,
        error=error,
        checks=grouped,
        log=None
        if log is None
        else LogHead(log.origin, log.vkey, log.size, log.root.hex(), log.pending),
        began=events[0].time if events else "",
        ended=max((event.time for event in events if event.type not in LOOKED), default=""),
        seconds=completed.seconds if completed else None,
        steps=completed.steps if completed else max((step.step for step in steps), default=0),
        method=planned.method,
        events=tuple(sorted(Counter(event.type for event in events).items())),
        admitted=admitted,
        denied=_timed(events, types.RunDenied),
        resumed=_timed(events, types.RunResumed),
        plan_digest=admitted.plan if admitted else planned.digest,
        outputs=admitted.outputs if admitted else planned.outputs,
        model_uri=planned.model_uri,
        kms=planned.keys,
        datasets=_datasets(events, admitted),
        rejected=tuple(
            event.data for event in events if isinstance(event.data, types.RecordRejected)
        ),
        enclaves=enclaves,
        assurance=enclaves[-1].data.assurance if enclaves else "",
        leases=_timed(events, types.LeaseIssued),
        releases=_timed(events, types.KeyReleased),
        refusals=_timed(events, types.KeyDenied),
        checkpoints=checkpoints,
        published=published,
        adapter=_adapter(completed, published, checkpoints),
        rollouts_opened=len(_timed(events, types.RolloutsOpened)),
        curves=_curves(steps),
        alarms=_timed(events, types.TrainingAlarm),
        finished=_last(events, types.TrainingFinished),
        replays=tuple(
            item for item in _timed(entries, types.RunReplayed) if item.data.original == run
        ),
        exports=_timed(events, types.AdapterExported),
        held_out=_held_out(events, planned.metrics),
        remembered=memory,
        capacity_bits=planned.capacity_bits,
        controls=control_matrix(events, verified=verified, remembered=memory),
        waivers=planned.waivers,
    )


def _timed(events: Iterable[Event], kind: type[_T]) -> tuple[Timed[_T], ...]:
    return tuple(
        Timed(event.time, event.actor, event.data)
        for event in events
        if isinstance(event.data, kind)
    )


def _last(events: Sequence[Event], kind: type[_T]) -> _T | None:
    for event in reversed(events):
        if isinstance(event.data, kind):
            return event.data
    return None


def _group(checks: Sequence[Check]) -> tuple[CheckGroup, ...]:
    names = dict.fromkeys(check.name for check in checks)
    return tuple(
        CheckGroup(
            name,
            sum(check.name == name for check in checks),
            tuple(check for check in checks if check.name == name and not check.ok),
        )
        for name in names
    )


def _outcome(events: Sequence[Event]) -> tuple[str, str]:
    """How the run ended (the last word counts: a failed run may have been resumed), and why."""
    for event in reversed(events):
        match event.data:
            case types.RunCompleted():
                return "completed", ""
            case types.RunFailed(code=code, stage=stage):
                return "failed", f"{code} in {stage}"
            case types.RunCancelled():
                return "cancelled", ""
            case types.RunDenied(denials=denials):
                return "denied", ", ".join(denial.rule for denial in denials)
            case types.RunResumed() | types.RunAdmitted():
                break
    return "unfinished", ""


def _datasets(events: Sequence[Event], admitted: types.RunAdmitted | None) -> tuple[Dataset, ...]:
    opened = {
        (event.data.dataset, event.data.shard)
        for event in events
        if isinstance(event.data, types.ShardOpened)
    }
    rejected = Counter(
        event.data.dataset for event in events if isinstance(event.data, types.RecordRejected)
    )
    return tuple(
        Dataset(
            name=ref.name,
            uri=ref.uri,
            manifest=ref.manifest,
            shards=ref.shards,
            records=ref.records,
            opened=sum(name == ref.name for name, _ in opened),
            rejected=rejected[ref.name],
        )
        for ref in (admitted.datasets if admitted else ())
    )


def _held_out(events: Sequence[Event], metrics: Sequence[str]) -> HeldOut | None:
    """The first of the run file's metrics that the evaluations report, or the score."""
    found = [event.data for event in events if isinstance(event.data, types.EvaluationFinished)]
    names = {f"evaluator_{metric}": metric for metric in metrics} | {SCORE: "score"}
    reported = {name for data in found for name in data.values}
    for name, shown in names.items():
        if name in reported:
            values = {_phase(data): data.values[name] for data in found if name in data.values}
            return HeldOut(shown, tuple(values.items()), max(data.records for data in found))
    return None


def _phase(data: types.EvaluationFinished) -> str:
    return f"step {data.step}" if data.phase == "during" else data.phase


def _curves(steps: Sequence[types.TrainingStep]) -> tuple[Series, ...]:
    """The charts' series; a step that a resumed run repeated counts once, as it was last."""
    last = {step.step: step.values for step in steps}
    names = dict.fromkeys(name for values in last.values() for name in values)
    order = [name for name in SHOWN_FIRST if name in names]
    order += [name for name in names if name not in order]
    return tuple(
        Series(name, tuple((float(at), last[at][name]) for at in sorted(last) if name in last[at]))
        for name in order[:MAX_CURVES]
    )


def _adapter(
    completed: types.RunCompleted | None,
    published: types.RunPublished | None,
    checkpoints: Sequence[Timed[types.CheckpointWritten]],
) -> str:
    if completed:
        return completed.adapter
    if published:
        return published.adapter
    return checkpoints[-1].data.adapter if checkpoints else ""
