"""Whether the log tells one plausible story: who said what, after what, when, and once."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from strongroom.audit.events import types
from strongroom.audit.report.controls.access import CLOCKS_APART_S
from strongroom.audit.report.controls.row import LOG, Case, Finding, faults, places, plural
from strongroom.audit.report.entries import Entry, seconds_between

QUIET_S = 7 * 24 * 3600
"""No command that goes on is silent for longer, though its machine may be suspended for a while."""


@dataclass(frozen=True)
class Place:
    """Where an event type belongs: who says it, and what came before it, if anything.

    ``session``: since the last start of an enclave. ``late``: also when the run has ended.
    """

    actor: str
    after: type[types.EventData] | None = None
    session: bool = False
    late: bool = False


PLACES: Mapping[type[types.EventData], Place] = {
    types.RunAdmitted: Place("controller"),
    types.RunDenied: Place("controller"),
    types.RunResumed: Place("controller", types.RunAdmitted),
    types.LeaseIssued: Place("broker", late=True),
    types.EnclaveStarted: Place("enclave", types.RunAdmitted),
    types.KeyReleased: Place("releaser", types.EnclaveStarted, session=True),
    types.KeyDenied: Place("releaser", types.EnclaveStarted, session=True),
    types.ShardOpened: Place("enclave", types.KeyReleased, session=True),
    types.RecordRejected: Place("enclave", types.KeyReleased, session=True),
    types.EvaluationFinished: Place("enclave", types.ShardOpened, session=True),
    types.TrainingStep: Place("enclave", types.EvaluationFinished),
    types.TrainingAlarm: Place("controller", types.TrainingStep),
    types.CheckpointWritten: Place("enclave", types.TrainingStep, session=True),
    types.TrainingFinished: Place("controller", types.CheckpointWritten),
    types.RunPublished: Place("controller", types.TrainingFinished),
    types.RunCompleted: Place("controller", types.RunPublished),
    types.RunFailed: Place("controller"),
    types.RunCancelled: Place("owner"),
    types.RolloutsOpened: Place("owner", types.CheckpointWritten, late=True),
    types.AdapterExported: Place("owner", types.CheckpointWritten, late=True),
}
"""Event types that are not here may stand anywhere."""

ENDINGS = (types.RunCompleted, types.RunFailed, types.RunCancelled, types.RunDenied)
AGAIN = (types.RunAdmitted, types.RunDenied, types.RunResumed, types.RunFailed, types.RunCancelled)
"""What a further command may begin with, where the run had not completed."""


def order(case: Case) -> Iterator[Finding]:
    """Each event is there once, said by the role that does it, after what it follows from, and
    nothing but looks after the run's completion; steps count up, and go on from the last
    checkpoint; no time goes back, or leaps."""
    story = _Story()
    entries = case.entries
    wrong = [(entry, story.take(entry)) for entry in entries]
    for entry, fault in wrong:
        if fault:
            yield Finding(f"{entry.type}: {fault}", False, (entry.index,))
    if entries and not any(fault for _, fault in wrong):
        says = f"{plural(len(entries), 'event')}, each once, by its role, after what it follows "
        says += "from, at a time that fits its neighbours’"
        yield Finding(says, True, places(entries))


class _Story:
    """A run as far as it was told."""

    def __init__(self) -> None:
        self._told: set[type[types.EventData]] = set()
        self._in_session: set[type[types.EventData]] = set()
        self._ids: set[str] = set()
        self._ended: Entry[types.EventData] | None = None
        self._before: Entry[types.EventData] | None = None
        self._begun: Entry[types.EventData] | None = None
        self._may_start = False
        """Whether the run was admitted or resumed since its last enclave started."""
        self._step = self._reached = self._kept = 0
        """The step that training is at, the last that it ever came to, and that of the last
        checkpoint."""
        self._finished: types.TrainingFinished | None = None

    def take(self, entry: Entry[types.EventData]) -> str:
        """Go on by one event; returns what is wrong with it, or nothing."""
        fault = faults(
            (entry.id not in self._ids, "the same event a second time"),
            *self._placed(entry),
            *self._numbered(entry.data),
            *self._timed(entry),
        )
        kind = type(entry.data)
        if kind is types.EnclaveStarted:
            self._in_session.clear()
            self._may_start = False
        self._told.add(kind)
        self._in_session.add(kind)
        self._ids.add(entry.id)
        self._before = entry
        if isinstance(entry.data, ENDINGS):
            self._ended = entry
        elif isinstance(entry.data, types.RunAdmitted | types.RunResumed):
            self._ended, self._begun, self._may_start = None, entry, True
        return fault

    def _placed(self, entry: Entry[types.EventData]) -> Iterator[tuple[bool, str]]:
        place = PLACES.get(type(entry.data))
        if place is None:
            return
        yield entry.actor == place.actor, f"said by the {entry.actor}, not by the {place.actor}"
        if place.after is not None:
            told = self._in_session if place.session else self._told
            what = place.after.__struct_config__.tag
            yield place.after in told, f"comes without {what} before it"
        if isinstance(entry.data, types.EnclaveStarted):
            yield self._may_start, "a second one without a resumption"
        if self._ended is not None and not place.late:
            completed = isinstance(self._ended.data, types.RunCompleted)
            again = isinstance(entry.data, AGAIN) and not completed
            yield again, f"comes after {self._ended.type}"

    def _numbered(self, data: types.EventData) -> Iterator[tuple[bool, str]]:
        at = self._step
        match data:
            case types.RunResumed(step=step):
                yield step == self._kept, f"from step {step}; kept was step {self._kept}"
                self._step = step
            case types.TrainingStep(step=step):
                yield step == at + 1, f"step {step} follows step {at}"
                yield self._finished is None, "training had finished"
                self._step, self._reached = step, max(step, self._reached)
            case types.TrainingAlarm(step=step):
                yield step == at, f"of step {step} after step {at}"
            case types.CheckpointWritten(step=step):
                yield step == at, f"of step {step} after step {at}"
                self._kept = step
            case types.TrainingFinished(step=step, chosen=chosen):
                yield step == at and chosen <= step, f"at step {step}, after step {at}"
                self._finished = data
            case types.EvaluationFinished(phase=phase, step=step):
                chosen = self._finished.chosen if self._finished else -1
                want = {"before": 0, "during": at, "after": chosen}
                yield step == want.get(phase), f"{phase}, of step {step} after step {at}"
            case types.RunFailed(step=step) | types.RunCancelled(step=step):
                yield step <= self._reached, f"at step {step}; reached was {self._reached}"

    def _timed(self, entry: Entry[types.EventData]) -> Iterator[tuple[bool, str]]:
        if self._before is None:
            return
        passed = seconds_between(self._before.time, entry.time)
        yield passed >= -CLOCKS_APART_S, f"{-passed:.0f} s before the event that stands before it"
        place = PLACES.get(type(entry.data))
        by_itself = isinstance(entry.data, AGAIN) or place is None or place.late
        yield by_itself or passed <= QUIET_S, f"{passed:.0f} s after the event before it"
        if isinstance(entry.data, types.RunCompleted) and self._begun:
            lasted = seconds_between(self._begun.time, entry.time) + CLOCKS_APART_S
            seconds = entry.data.seconds
            yield seconds <= lasted, f"{seconds:g} s for a run that took {lasted:.0f} s at most"


def log(case: Case) -> Iterator[Finding]:
    """Every entry, tile and earlier checkpoint was recomputed and held against the signed root."""
    checks = case.log_checks
    bad = [check for check in checks if not check.ok]
    for check in bad:
        yield Finding(f"{check.object}: {check.detail or check.name}", False)
    if case.size is None or not checks:
        yield Finding("no log was read", None)
    elif not bad:
        says = f"{len(checks)} checks of the log’s objects held: its {case.size} entries hash to "
        says += f"the signed root; {len(case.entries)} are of this run"
        yield Finding(says, True, places(case.entries))


EXTENDS = tuple(f"{LOG}: {name}" for name in ("remembered", "earlier checkpoint", "witnesses"))
"""Names of the checks that hold the log against what was read of it before, against checkpoints
that were kept elsewhere, and against witnesses."""


def rollback(case: Case) -> Iterator[Finding]:
    """The log goes on from an earlier checkpoint, or from what witnesses saw. Without either this
    is not tested."""
    seen = [check for check in case.checks if check.name in EXTENDS]
    for check in seen:
        yield Finding(f"{check.object} {check.detail}".strip(), check.ok)
    if not seen:
        yield Finding("no earlier checkpoint and no witness was given to hold it against", None)
