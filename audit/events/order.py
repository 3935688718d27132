"""What may be said of a run, by whom, and when: the order in which its events make sense.

The releaser takes an event in only if it fits what the log says of that run so far; ``verify``
holds a finished log to the same rules, since whoever steals the log's key needs no releaser. The
rules are about what events claim of each other, not about whether they are true:

* nothing happens in an enclave before the policy admitted a plan, an enclave started, and the
  releaser gave it keys; and nothing after the run completed but looks at what it left;
* steps follow each other, a checkpoint is of the step just done, a result is a checkpoint that
  was written, a run goes on from the last one; none of that is told twice, or after training ended;
* each type is said by one role, and what the releaser does is said by the releaser alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from strongroom.audit.events import types
from strongroom.audit.events.entries import RELEASER, Actor, Event, from_entry
from strongroom.audit.events.errors import EventMalformed
from strongroom.audit.log.errors import EventRefused

LATE = timedelta(hours=1)
"""How long after it happened an event is still taken: a log may have been out of reach."""
EARLY = timedelta(minutes=1)
"""How far a caller's clock may be ahead."""

_FIRST = datetime(2024, 1, 1, tzinfo=UTC)
"""No log is older than this."""

ACTORS: dict[type[types.EventData], Actor] = {
    types.RunAdmitted: "controller",
    types.RunDenied: "controller",
    types.RunResumed: "controller",
    types.LeaseIssued: "broker",
    types.EnclaveStarted: "enclave",
    types.KeyReleased: "releaser",
    types.KeyDenied: "releaser",
    types.ShardOpened: "enclave",
    types.RecordRejected: "enclave",
    types.TrainingStep: "enclave",
    types.TrainingAlarm: "controller",
    types.TrainingFinished: "controller",
    types.CheckpointWritten: "enclave",
    types.RolloutsOpened: "releaser",
    types.AdapterExported: "releaser",
    types.EvaluationFinished: "enclave",
    types.EvaluatorTested: "enclave",
    types.RunPublished: "controller",
    types.RunCompleted: "controller",
    types.RunFailed: "controller",
    types.RunCancelled: "owner",
    types.RunReplayed: "controller",
    types.ReleaserStarted: "releaser",
    types.DatasetKeyReleased: "releaser",
    types.ManifestSigned: "releaser",
}
"""Who says what."""

OF_NO_RUN = (types.ReleaserStarted, types.DatasetKeyReleased, types.ManifestSigned)
"""Types of events that belong to no run."""
OF_ANY = (types.KeyDenied, types.LeaseIssued)
"""Types of events that may belong to one: a sealer is refused, too, and the log's own lease is
nobody's run."""


@dataclass
class RunOrder:
    """One run, as far as it is told. A new one is a run of which nothing was said."""

    plans: set[str] = field(default_factory=set)
    """That were admitted; of a replay the one that is done again."""
    going: bool = False
    """Between its admission or resumption and its end."""
    evidence: str = ""
    """Of the last enclave that started."""
    has_keys: bool = False
    opened: set[tuple[str, int]] = field(default_factory=set)
    """Shards, by the last enclave."""
    step: int = 0
    checkpoints: dict[int, types.CheckpointWritten] = field(default_factory=dict)
    evaluated: set[tuple[str, int]] = field(default_factory=set)
    """Phases and steps."""
    tested: bool = False
    finished: types.TrainingFinished | None = None
    published: bool = False
    completed: bool = False
    replayed: bool = False

    @classmethod
    def of(cls, log: Iterable[types.EventData]) -> RunOrder:
        """The run that these events tell of; whether they fit is not looked at."""
        order = cls()
        for data in log:
            order.apply(data)
        return order

    def check(self, event: Event) -> None:
        """Raise ``EventRefused`` unless this event may come next."""
        actor = ACTORS[type(event.data)]
        if event.actor != actor:
            raise EventRefused(place=event.type, expected=f"from the {actor}", actual=event.actor)
        if actor == "releaser" and event.caller != RELEASER:
            raise EventRefused(
                place=event.type, expected="said by the releaser itself", actual=event.caller
            )
        of_no_run = isinstance(event.data, OF_NO_RUN)
        if (event.run and of_no_run) or not (
            event.run or of_no_run or isinstance(event.data, OF_ANY)
        ):
            raise EventRefused(place=event.type, expected="a run's id where one is told of")
        expected = self._missing(event.data)
        if expected:
            raise EventRefused(place=f"{event.type} of {event.run}", expected=expected)

    def _missing(self, data: types.EventData) -> str:
        """What would have to be so for this to come next; empty when it is."""
        match data:
            case types.RunAdmitted() | types.RunDenied():
                return "" if not self.evidence else "a run whose enclave has not started"
            case types.RunResumed(plan=plan, step=step):
                if self.completed or (self.plans and plan not in self.plans):
                    return "a run that was admitted with this plan, and has not completed"
                return "" if step == self._last else f"to go on from step {self._last}"
            case types.EnclaveStarted():
                return "" if self.going else "a run that goes on"
            case types.KeyReleased(plan=plan, evidence=evidence):
                known = self.going and plan in self.plans and evidence == self.evidence
                return "" if known else "the evidence of the enclave that has started"
            case types.RunFailed() | types.RunCancelled():
                return "" if not self.completed else "a run that has not completed"
            case types.RunPublished(adapter=adapter, manifest=manifest):
                known = self.going and not self.published and self._is_result(adapter, manifest)
                return "" if known else "the checkpoint that training ended with"
            case types.RunCompleted(adapter=adapter, manifest=manifest, steps=steps):
                known = self.going and self.published and steps == self._last
                known = known and self._is_result(adapter, manifest)
                return "" if known else "a run whose result is published"
            case types.RunReplayed(plan=plan):
                ended = self.has_keys and not self.going and not self.replayed
                return "" if ended and plan in self.plans else "a replay that has ended"
            case types.RolloutsOpened() | types.AdapterExported():
                return "" if self.plans else "a run that was admitted"
            case types.LeaseIssued() | types.KeyDenied():
                return ""
            case types.ReleaserStarted() | types.DatasetKeyReleased() | types.ManifestSigned():
                return ""
        if not (self.has_keys and self.going):
            return "an enclave with keys"
        return self._missing_inside(data)

    def _missing_inside(self, data: types.EventData) -> str:
        """The same for what happens in an enclave that has keys."""
        match data:
            case types.ShardOpened(dataset=dataset, shard=shard):
                again = (dataset, shard) in self.opened
                return "a shard that this enclave has not opened" if again else ""
            case types.EvaluatorTested():
                return "an evaluator that was not tested yet" if self.tested else ""
            case types.EvaluationFinished(phase=phase, step=step):
                due = {
                    "before": None if self.step else 0,
                    "during": self._last or None,
                    "after": self.finished.chosen if self.finished else None,
                }
                if step == due[phase] and (phase, step) not in self.evaluated:
                    return ""
                return "an evaluation that is due, once"
            case types.TrainingAlarm(step=step):
                return "" if step == self.step else f"an alarm of step {self.step}"
            case types.TrainingStep() | types.CheckpointWritten() | types.TrainingFinished() if (
                self.finished
            ):
                return "training that goes on"
            case types.TrainingStep(step=step):
                return "" if step == self.step + 1 else f"step {self.step + 1}"
            case types.CheckpointWritten(step=step):
                if step == self.step > self._last:
                    return ""
                return f"a checkpoint of step {max(self.step, self._last + 1)}"
            case types.TrainingFinished(step=step, chosen=chosen):
                if step == self.step == self._last and chosen in self.checkpoints:
                    return ""
                return f"training to end at step {self._last}, with a checkpoint that there is"
        return ""

    @property
    def _last(self) -> int:
        """The step of the last checkpoint; 0 for none."""
        return max(self.checkpoints, default=0)

    def _is_result(self, adapter: str, manifest: str) -> bool:
        chosen = self.checkpoints.get(self.finished.chosen) if self.finished else None
        return chosen is not None and (chosen.adapter, chosen.manifest) == (adapter, manifest)

    def apply(self, data: types.EventData) -> None:
        """Take one event in."""
        match data:
            case types.RunAdmitted(plan=plan):
                self.plans.add(plan)
                self.going = True
            case types.RunResumed(plan=plan, step=step):
                self.plans.add(plan)
                self.going, self.has_keys, self.step = True, False, step
            case types.EnclaveStarted(evidence=evidence):
                self.evidence, self.has_keys = evidence, False
                self.opened.clear()
            case types.KeyReleased():
                self.has_keys = True
            case types.ShardOpened(dataset=dataset, shard=shard):
                self.opened.add((dataset, shard))
            case types.TrainingStep(step=step):
                self.step = step
            case types.CheckpointWritten(step=step):
                self.checkpoints[step] = data
            case types.EvaluationFinished(phase=phase, step=step):
                self.evaluated.add((phase, step))
            case types.EvaluatorTested():
                self.tested = True
            case types.TrainingFinished():
                self.finished = data
            case types.RunReplayed():
                self.replayed = True
            case types.RunPublished():
                self.published = True
            case types.RunCompleted():
                self.completed, self.going = True, False
            case types.RunFailed() | types.RunCancelled() | types.RunDenied():
                self.going = False


def check_time(event: Event, now: datetime) -> None:
    """An event tells of now, or of a moment ago. Raises ``EventRefused``."""
    at = moment(event)
    if not now - LATE <= at <= now + EARLY:
        raise EventRefused(
            place=event.type,
            expected=f"a time within {LATE.seconds // 60} minutes before now",
            actual=event.time,
            remedy="Set the clock of the machine that the run is on.",
        )


def moment(event: Event) -> datetime:
    """When an event happened."""
    return datetime.fromisoformat(event.time)


def check_history(entries: Iterable[bytes]) -> Iterator[tuple[int, EventRefused | EventMalformed]]:
    """The entries of a log that no releaser would have taken, by place: all of a log, in order."""
    for place, _, error in read_history(entries):
        if error is not None:
            yield place, error


def read_history(
    entries: Iterable[bytes],
) -> Iterator[tuple[int, Event | None, EventRefused | EventMalformed | None]]:
    """Each entry of a log in order: its place, its event, and why no releaser would have taken it.

    What is no event at all has none.
    """
    runs: dict[str, RunOrder] = {}
    seen: set[str] = set()
    latest = _FIRST
    now = datetime.now(UTC)
    for place, entry in enumerate(entries):
        event = None
        try:
            event = from_entry(entry, place=f"entry {place}")
            order = runs.setdefault(event.run, RunOrder())
            order.check(event)
            if event.id in seen:
                raise EventRefused(place=event.type, expected="an entry that is not there yet")
            at = moment(event)
            if at > now + EARLY or at + LATE + EARLY < latest:
                raise EventRefused(
                    place=event.type, expected="a time that follows", actual=event.time
                )
        except (EventRefused, EventMalformed) as error:
            yield place, event, error
            continue
        yield place, event, None
        seen.add(event.id)
        latest = max(latest, at)
        order.apply(event.data)
