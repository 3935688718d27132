"""The run's audit log: what happened becomes an event, in order, before the run goes on.

Events are given to the releaser, which keeps the log; this process holds neither the bucket's
credentials nor the log's key. When the log cannot be written, ``record`` raises and the run stops:
nothing happens unlogged. What the log says is read from the bucket, through a broker that may only
read there, and verified: the releaser's word is not taken for it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Protocol

from strongroom.audit.events import types as events
from strongroom.audit.events.entries import Actor, Event, from_entry, new_event
from strongroom.audit.log.copy import LogCopy
from strongroom.audit.log.errors import LogUnreadable
from strongroom.audit.log.store import LogReader
from strongroom.audit.log.verify import LogView, read_log
from strongroom.pipeline.broker.errors import BrokerLost
from strongroom.pipeline.broker.log import log_origin

PURPOSE: Final = "audit-read"


class Notary(Protocol):
    """Takes events into the log."""

    def append(self, events: Sequence[Event]) -> int:
        """Take events of one run in, in order, all or none; the log's size then."""
        ...


class Journal:
    """One run's view of the log.

    ``store`` is where the log is read, under ``vkey``; ``copy`` is what this machine knows of it.
    """

    def __init__(
        self,
        run: str,
        audit_uri: str,
        notary: Notary,
        store: LogReader,
        vkey: str,
        copy: LogCopy | None = None,
    ) -> None:
        self.run = run
        """The id under which events are logged."""
        self._notary = notary
        self._store = store
        self._origin = log_origin(audit_uri)
        self._copy = LogCopy() if copy is None else copy
        self._pending: list[Event] = []
        self.vkey = vkey
        """The line that verifies the log."""

    @property
    def pending(self) -> bool:
        """Whether an event was noted and is not written yet."""
        return bool(self._pending)

    def note(self, actor: Actor, data: events.EventData) -> None:
        """Remember an event for the next ``record``; used where writing must wait a moment."""
        self._pending.append(new_event(self.run, actor, data))

    def record(self, actor: Actor, *data: events.EventData) -> None:
        """Write events, after those noted before; returns once a signed checkpoint holds them."""
        for item in data:
            self.note(actor, item)
        if not self._pending:
            return
        batch = list(self._pending)
        self._notary.append(batch)
        # Writing may itself have noted an event (a lease); that one waits for the next time.
        del self._pending[: len(batch)]

    def view(self) -> LogView:
        """The whole log, verified. Raises ``BrokerLost`` and what ``read_log`` does."""
        try:
            return read_log(self._store, self.vkey, self._origin, self._copy)
        except LogUnreadable as error:
            if isinstance(error.__cause__, BrokerLost):
                raise error.__cause__ from None
            raise

    def events(self, run: str = "") -> list[Event]:
        """This run's events so far, or another's, from the verified log.

        What was taken in before a crash is published first: it comes before whatever is decided
        from the history.
        """
        self._notary.append(())
        return [from_entry(entry) for _, entry in self.view().of_run(run or self.run)]
