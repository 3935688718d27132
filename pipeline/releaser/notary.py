"""The log's notary: takes events in that fit what the log says, and enters what the releaser does.

Callers say what happened in their runs; the releaser's own doings nobody else can say. Each run's
events are taken one after another, those of different runs together.
"""

from __future__ import annotations

import copy
import threading
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime

import msgspec

from strongroom.audit.events.entries import RELEASER, Event, from_entry, new_event, to_entry
from strongroom.audit.events.order import RunOrder, check_time
from strongroom.audit.events.types import EventData, LeaseIssued
from strongroom.audit.log.errors import EventRefused
from strongroom.audit.log.sequencer import Sequencer

_RUNS_KEPT = 1000
_LOCKS = 256
"""Runs take turns by the lock that they fall on: callers can name more runs than there is memory
for a lock each."""


class Notary:
    """Safe to share between threads.

    ``owners`` are callers who may speak of every run; the others only of runs that they began.
    """

    def __init__(
        self,
        log: Sequencer,
        owners: Collection[str] = (),
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._log = log
        self._owners = frozenset(owners)
        self._clock = clock
        self._runs: dict[str, _Run] = {}
        self._locks = [threading.Lock() for _ in range(_LOCKS)]
        self._lock = threading.Lock()
        self._noted: list[Event] = []
        self._taking: set[str] = set()
        """Ids of the events that are being taken in, of all runs."""

    def take(self, events: Sequence[Event], caller: str) -> int:
        """Take events of one run in, said by ``caller``; returns the log's size then.

        Raises ``EventRefused`` when one of them cannot be: then none is taken. Raises what
        ``Sequencer.append`` does; then all may be taken or none, and asking again tells.
        """
        runs = {event.run for event in events}
        if len(runs) > 1 or "" in runs:
            raise EventRefused(place="append", expected="events of one run")
        return self._take([msgspec.structs.replace(event, caller=caller) for event in events])

    def say(self, run: str, *data: EventData) -> None:
        """Enter what the releaser did itself; raises as :meth:`take` does."""
        self._take([self._own(run, each) for each in data])

    def note(self, lease: LeaseIssued) -> None:
        """Remember a lease of the releaser's own for the next entry.

        It is taken while an entry is being written, so it cannot be written at once.
        """
        event = new_event("", "broker", lease, at=self._clock())
        with self._lock:
            self._noted.append(msgspec.structs.replace(event, caller=RELEASER))

    def _own(self, run: str, data: EventData) -> Event:
        event = new_event(run, "releaser", data, at=self._clock())
        return msgspec.structs.replace(event, caller=RELEASER)

    def told(self, run: str) -> RunOrder:
        """What the log says of a run."""
        with self._lock:  # while an event is taken, its run is not among them
            if run in self._runs:
                return copy.deepcopy(self._runs[run].order)
        return self._load(run).order

    def _take(self, events: Sequence[Event]) -> int:
        run = events[0].run if events else ""
        with self._locks[hash(run) % _LOCKS], self._alone(events):
            with self._lock:
                known = self._runs.pop(run, None)
            known = known or self._load(run)
            entries = [entry for event in events if (entry := known.admit(event, self))]
            with self._lock:
                noted, self._noted = self._noted, []
            entries += [to_entry(event) for event in noted]
            try:
                size = self._append(entries)
            except BaseException:
                # What is remembered already will be published, and must not be entered twice.
                with self._lock:
                    left = [event for event in noted if self.known(event) is None]
                    self._noted = left + self._noted
                raise
            self._keep(run, known)
            return size

    @contextmanager
    def _alone(self, events: Sequence[Event]) -> Iterator[None]:
        """Nobody takes an event with one of these ids meanwhile, in whatever run."""
        ids = {event.id for event in events}
        with self._lock:
            if len(ids) < len(events) or ids & self._taking:
                raise EventRefused(place="append", expected="events with an id of their own each")
            self._taking |= ids
        try:
            yield
        finally:
            with self._lock:
                self._taking -= ids

    def _append(self, entries: Sequence[bytes]) -> int:
        if entries:
            return self._log.append(entries).size
        self._log.publish()
        return self._log.memory.size

    def _load(self, run: str) -> _Run:
        entries = self._log.memory.of_run(run) if run else []
        found = [from_entry(entry) for _, entry in entries]
        callers = (event.caller for event in found if event.caller != RELEASER)
        return _Run(RunOrder.of(event.data for event in found), next(callers, ""))

    def _keep(self, run: str, known: _Run) -> None:
        with self._lock:
            self._runs[run] = known
            while len(self._runs) > _RUNS_KEPT:
                del self._runs[next(iter(self._runs))]

    def may_speak(self, caller: str, begun_by: str) -> bool:
        """Whether a caller may tell of a run that another one began."""
        return caller in (begun_by, RELEASER) or not begun_by or caller in self._owners

    def known(self, event: Event) -> bytes | None:
        """The entry of this id that is in the log."""
        found = self._log.memory.find(event.id)
        return found[0][1] if found else None

    def now(self) -> datetime:
        """The releaser's clock."""
        return self._clock()


class _Run:
    """What the log says of one run, and who began it."""

    def __init__(self, order: RunOrder, begun_by: str) -> None:
        self.order = order
        self._begun_by = begun_by

    def admit(self, event: Event, notary: Notary) -> bytes | None:
        """The entry of an event that may come next; None when it is in the log already."""
        entry = to_entry(event)
        known = notary.known(event)
        if known is not None:
            if known != entry:
                raise EventRefused(place=event.type, expected="an id that no other entry has")
            return None
        if not notary.may_speak(event.caller, self._begun_by):
            raise EventRefused(
                place=f"{event.type} of {event.run}", expected=self._begun_by, actual=event.caller
            )
        check_time(event, notary.now())
        self.order.check(event)
        self.order.apply(event.data)
        if event.caller != RELEASER:
            self._begun_by = self._begun_by or event.caller
        return entry
