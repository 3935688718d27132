"""Whether the log tells one plausible story: who said what, after what, when, and once.

What may follow on what is the releaser's rule (``audit.events.order``); here it is asked of a log
that a thief of its key may have written without a releaser, with what a whole log tells besides.
"""

from __future__ import annotations

from collections.abc import Iterator

from strongroom.audit.events import types
from strongroom.audit.events.order import RunOrder
from strongroom.audit.log.errors import EventRefused
from strongroom.audit.report.controls.access import CLOCKS_APART_S
from strongroom.audit.report.controls.row import LOG, Case, Finding, faults, places, plural
from strongroom.audit.report.entries import Entry, seconds_between

QUIET_S = 7 * 24 * 3600
"""No command that goes on is silent for longer, though its machine may be suspended for a while."""
BEGINNINGS = (
    *(types.RunAdmitted, types.RunDenied, types.RunResumed, types.RunFailed, types.RunCancelled),
    *(types.LeaseIssued, types.KeyDenied, types.RolloutsOpened, types.AdapterExported),
)
"""What a further command may begin with, however long after the one before."""


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
        self._order = RunOrder()
        self._ids: set[str] = set()
        self._before: Entry[types.EventData] | None = None
        self._begun: Entry[types.EventData] | None = None
        self._may_start = False
        """Whether the run was admitted or resumed since its last enclave started."""
        self._reached = 0
        """The last step that training ever came to."""

    def take(self, entry: Entry[types.EventData]) -> str:
        """Go on by one event; returns what is wrong with it, or nothing."""
        found = faults(
            *self._placed(entry),
            (entry.id not in self._ids, "the same event a second time"),
            *self._timed(entry),
        )
        self._ids.add(entry.id)
        self._before = entry
        self._order.apply(entry.data)
        match entry.data:
            case types.RunAdmitted() | types.RunResumed():
                self._begun, self._may_start = entry, True
            case types.EnclaveStarted():
                self._may_start = False
            case types.TrainingStep(step=step):
                self._reached = max(step, self._reached)
        return found

    def _placed(self, entry: Entry[types.EventData]) -> Iterator[tuple[bool, str]]:
        try:
            self._order.check(entry.event)
        except EventRefused as error:
            found = f", not {error.actual}" if error.actual else ""
            yield False, f"expected {error.expected}{found}"
        match entry.data:
            case types.EnclaveStarted():
                yield self._may_start, "a second one without a resumption"
            case types.RunFailed(step=step) | types.RunCancelled(step=step):
                yield step <= self._reached, f"at step {step}; reached was {self._reached}"

    def _timed(self, entry: Entry[types.EventData]) -> Iterator[tuple[bool, str]]:
        if self._before is None:
            return
        passed = seconds_between(self._before.time, entry.time)
        yield passed >= -CLOCKS_APART_S, f"{-passed:.0f} s before the event that stands before it"
        fits = passed <= QUIET_S or isinstance(entry.data, BEGINNINGS)
        yield fits, f"{passed:.0f} s after the event before it"
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
