"""What a report says, gathered from a run's events.

Pure: the log's events, the checks that were made and what was planned go in, ``ReportData`` comes
out. Nothing here formats. What the log does not show is left empty and is reported as not shown.
"""

from __future__ import annotations

import base64
from collections import Counter
from collections.abc import Sequence

from strongroom.audit.events import types
from strongroom.audit.events.entries import Event
from strongroom.audit.log.verify import Check, LogView
from strongroom.audit.report.charts import Series
from strongroom.audit.report.controls.numbers import SCORE
from strongroom.audit.report.controls.row import Case
from strongroom.audit.report.controls.table import control_matrix
from strongroom.audit.report.entries import Entries, Entry, entries_of, last, of
from strongroom.audit.report.model import CheckGroup, Dataset, HeldOut, LogHead, ReportData
from strongroom.audit.report.planned import Planned, Walls
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

LOOKS = (types.LeaseIssued, types.RolloutsOpened, types.AdapterExported)
"""What may be logged of a run that has ended, and does not go on."""


def from_log(
    events: Sequence[Event],
    run: str,
    checks: Sequence[Check],
    planned: Planned,
    *,
    log: LogView | None = None,
    walls: Walls | None = None,
    deletions: Sequence[str] | None = None,
) -> ReportData:
    """Gather one run's report.

    ``events`` are all of the log, of this and other runs, in its order; ``log`` is the verified
    log. ``walls`` judges an enclave's probes, and ``deletions`` names the delete markers and
    replaced versions in the buckets: a control that needs what was not given is not tested.
    """
    log_entries = entries_of(events)
    entries = tuple(entry for entry in log_entries if entry.event.run == run)
    until, afterwards = _at_its_end(entries)
    replays = tuple(e for e in of(log_entries, types.RunReplayed) if e.data.original == run)
    completed = last(of(entries, types.RunCompleted))
    admitted = last(of(entries, types.RunAdmitted))
    published = last(of(entries, types.RunPublished))
    checkpoints = of(entries, types.CheckpointWritten)
    steps = [entry.data for entry in of(entries, types.TrainingStep)]
    outcome, error = _outcome(entries)
    memory = remembered(entries, planned.planted)
    case = Case(
        entries=entries,
        planned=planned,
        checks=checks,
        size=None if log is None else log.size,
        replays=replays,
        walls=walls,
        deletions=deletions,
        memory=memory,
    )
    return ReportData(
        run=run,
        outcome=outcome,
        error=error,
        checks=_group(checks),
        log=None if log is None else _head(log),
        planned=planned,
        began=until[0].time if until else "",
        ended=until[-1].time if until else "",
        seconds=completed.seconds if completed else None,
        steps=completed.steps if completed else max((step.step for step in steps), default=0),
        events=tuple(sorted(Counter(entry.type for entry in until).items())),
        afterwards=afterwards,
        admitted=admitted,
        denied=of(entries, types.RunDenied),
        resumed=of(entries, types.RunResumed),
        failed=of(entries, types.RunFailed),
        datasets=_datasets(entries, admitted),
        rejected=of(entries, types.RecordRejected),
        enclaves=of(entries, types.EnclaveStarted),
        leases=of(until, types.LeaseIssued),
        releases=of(entries, types.KeyReleased),
        refusals=of(entries, types.KeyDenied),
        checkpoints=checkpoints,
        published=published,
        adapter=_adapter(completed, published, checkpoints),
        rollouts_opened=of(entries, types.RolloutsOpened),
        exports=of(entries, types.AdapterExported),
        replays=replays,
        curves=_curves(steps),
        alarms=of(entries, types.TrainingAlarm),
        finished=last(of(entries, types.TrainingFinished)),
        held_out=_held_out(entries, planned.metrics),
        remembered=memory,
        deletions=deletions,
        controls=control_matrix(case),
    )


def _head(log: LogView) -> LogHead:
    root = base64.b64encode(log.root).decode()
    return LogHead(log.origin, log.vkey, log.size, root)


def _at_its_end(entries: Entries) -> tuple[Entries, Entries]:
    """The entries up to the run's end, and those after it.

    A run that goes on, or was never ended, has none after it, but looks and leases for them.
    """
    ends = (types.RunCompleted, types.RunFailed, types.RunCancelled, types.RunDenied)
    at = len(entries)
    while at and isinstance(entries[at - 1].data, LOOKS):
        at -= 1
    ended = any(isinstance(entry.data, ends) for entry in entries[at - 1 : at])
    completed = [i for i, e in enumerate(entries) if isinstance(e.data, types.RunCompleted)]
    if completed:
        at = completed[0] + 1
    elif not ended:
        at = len(entries)
    return entries[:at], entries[at:]


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


def _outcome(entries: Entries) -> tuple[str, str]:
    """How the run ended (the last word counts: a failed run may have been resumed), and why."""
    for entry in reversed(entries):
        match entry.data:
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


def _datasets(entries: Entries, admitted: types.RunAdmitted | None) -> tuple[Dataset, ...]:
    opened = {(entry.data.dataset, entry.data.shard) for entry in of(entries, types.ShardOpened)}
    rejected = Counter(entry.data.dataset for entry in of(entries, types.RecordRejected))
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


def _held_out(entries: Entries, metrics: Sequence[str]) -> tuple[HeldOut, ...]:
    """The run file's metrics that the evaluations report, in its order, then the score."""
    found = [entry.data for entry in of(entries, types.EvaluationFinished)]
    names = {f"evaluator_{metric}": metric for metric in metrics} | {SCORE: "score"}
    shown: list[HeldOut] = []
    for name, metric in names.items():
        values = {_phase(data): data.values[name] for data in found if name in data.values}
        if values:
            records = max(data.records for data in found)
            shown.append(HeldOut(metric, tuple(values.items()), records))
    return tuple(shown)


def _phase(data: types.EvaluationFinished) -> str:
    return f"step {data.step}" if data.phase == "during" else data.phase


def _curves(steps: Sequence[types.TrainingStep]) -> tuple[Series, ...]:
    """The charts' series; a step that a resumed run repeated counts once, as it was last."""
    latest = {step.step: step.values for step in steps}
    names = dict.fromkeys(name for values in latest.values() for name in values)
    order = [name for name in SHOWN_FIRST if name in names]
    order += [name for name in names if name not in order]
    return tuple(
        Series(
            name,
            tuple((float(at), latest[at][name]) for at in sorted(latest) if name in latest[at]),
        )
        for name in order[:MAX_CURVES]
    )


def _adapter(
    completed: types.RunCompleted | None,
    published: types.RunPublished | None,
    checkpoints: Sequence[Entry[types.CheckpointWritten]],
) -> str:
    if completed:
        return completed.adapter
    if published:
        return published.adapter
    return checkpoints[-1].data.adapter if checkpoints else ""
