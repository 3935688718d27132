"""What a report says, gathered from a run's events.

Pure: the log's events, the checks that were made and the plan go in; ``ReportData`` comes out.
Nothing here formats. What the log does not show is left empty and is reported as not shown.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeVar

from strongroom.audit.events import types
from strongroom.audit.events.entries import Event
from strongroom.audit.log.verify import Check, LogView
from strongroom.audit.report.charts import Series
from strongroom.audit.report.controls import control_matrix
from strongroom.audit.report.model import CheckGroup, Dataset, LogHead, ReportData, Timed, Waiver
from strongroom.audit.report.remembered import MAX, MEAN, remembered

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

__all__ = ["ReportData", "from_log"]

_T = TypeVar("_T", bound=types.EventData)


def from_log(
    entries: Sequence[Event],
    run: str,
    checks: Sequence[Check],
    plan: Mapping[str, Any],
    *,
    log: LogView | None = None,
) -> ReportData:
    """Gather one run's report.

    ``entries`` are the log's events, of this and other runs, in log order; ``plan`` is the
    mapping in the run's plan.json (what it lacks is left out); ``log`` the verified log.
    """
    events = [event for event in entries if event.run == run]
    admitted = _last(events, types.RunAdmitted)
    completed = _last(events, types.RunCompleted)
    published = _last(events, types.RunPublished)
    enclaves = _timed(events, types.EnclaveStarted)
    checkpoints = _timed(events, types.CheckpointWritten)
    grouped = _group(checks)
    verified = bool(grouped) and not any(group.failed for group in grouped)
    metric, evaluations, held_out = _evaluations(events)
    steps = [event.data for event in events if isinstance(event.data, types.TrainingStep)]
    outcome, error = _outcome(events)
    spec = _mapping(plan, "spec")
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
        method=_text(_mapping(_mapping(spec, "training"), "method"), "type"),
        events=tuple(sorted(Counter(event.type for event in events).items())),
        admitted=admitted,
        denied=_timed(events, types.RunDenied),
        resumed=_timed(events, types.RunResumed),
        plan_digest=admitted.plan if admitted else _text(plan, "digest"),
        outputs=admitted.outputs if admitted else _text(plan, "outputs"),
        model_uri=_text(_mapping(plan, "model"), "uri"),
        kms=tuple((name, str(ref)) for name, ref in sorted(_mapping(plan, "keys").items())),
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
        evaluations=evaluations,
        evaluation_metric=metric,
        held_out_records=held_out,
        remembered=remembered(events, _mapping(spec, "training")),
        capacity_bits=_capacity(plan),
        controls=control_matrix(events, verified=verified),
        waivers=_waivers(spec),
    )


def _timed(events: Iterable[Event], kind: type[types.EventData]) -> tuple[Timed, ...]:
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


def _evaluations(events: Sequence[Event]) -> tuple[str, tuple[tuple[str, float], ...], int]:
    """The held-out metric, its values in order, and how many records they are over."""
    found = [event.data for event in events if isinstance(event.data, types.EvaluationFinished)]
    names = [name for data in found for name in data.values if name not in (MAX, MEAN)]
    metric = "accuracy" if "accuracy" in names else next(iter(names), "")
    labels = {"before": "before", "after": "after"}
    values = {
        labels.get(data.phase, f"step {data.step}"): data.values[metric]
        for data in found
        if metric in data.values
    }
    return metric, tuple(values.items()), max((data.records for data in found), default=0)


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
    checkpoints: Sequence[Timed],
) -> str:
    if completed:
        return completed.adapter
    if published:
        return published.adapter
    return str(checkpoints[-1].data.adapter) if checkpoints else ""


def _capacity(plan: Mapping[str, Any]) -> int | None:
    for source in (plan, _mapping(plan, "limits")):
        value = source.get("capacity_bits")
        if isinstance(value, int):
            return value
    return None


def _waivers(spec: Mapping[str, Any]) -> tuple[Waiver, ...]:
    found = _mapping(spec, "policy").get("waivers") or ()
    return tuple(
        Waiver(*(_text(item, name) for name in ("rule", "owner", "reason", "expires")))
        for item in found
        if isinstance(item, Mapping)
    )


def _mapping(data: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    value = data.get(name)
    return value if isinstance(value, Mapping) else {}


def _text(data: Mapping[str, Any], name: str) -> str:
    value = data.get(name)
    return "" if value is None else str(value)
