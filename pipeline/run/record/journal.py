"""The run's audit log: what happened becomes an event, in order, before the run goes on.

The log is kept in the audit bucket through a broker of its own (which holds only that bucket's
lease) and signed by the releaser, so this process holds neither credential nor key. When the log
cannot be written, ``record`` raises and the run stops: nothing happens unlogged.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from strongroom.audit.events import types as events
from strongroom.audit.events.entries import Actor, Event, from_entry, new_event, to_entry
from strongroom.audit.log.errors import LogNotWritable, LogUnreadable
from strongroom.audit.log.note import LogKey
from strongroom.audit.log.verify import LogView, read_log
from strongroom.audit.log.writer import CHECKPOINT, AuditLog
from strongroom.connectors.buckets.uri import parse
from strongroom.crypto.dsse import KeyRef, public_key
from strongroom.pipeline.broker.client import BrokerClient
from strongroom.pipeline.broker.errors import BrokerLost

PURPOSE: Final = "audit-append"


class BucketLogStore:
    """``audit.log.store.LogStore`` over a broker: objects under the audit prefix.

    A log's objects are written once, all but its checkpoint, so each is fetched once at most.
    """

    def __init__(self, broker: BrokerClient, prefix: str) -> None:
        self._broker = broker
        self._prefix = prefix
        self._fetched: dict[str, tuple[bytes, str]] = {}

    def read(self, key: str) -> tuple[bytes, str] | None:
        """See ``LogStore.read``."""
        if key in self._fetched:
            return self._fetched[key]
        stored = self._broker.read(self._prefix + key, PURPOSE)
        if stored is None:
            return None
        if key != CHECKPOINT:
            self._fetched[key] = stored.data, stored.etag
        return stored.data, stored.etag

    def create(self, key: str, data: bytes) -> bool:
        """See ``LogStore.create``."""
        return self._broker.create(self._prefix + key, PURPOSE, data)

    def replace(self, key: str, data: bytes, etag: str) -> bool:
        """See ``LogStore.replace``."""
        return self._broker.replace(self._prefix + key, PURPOSE, data, etag)

    def keys(self) -> list[str]:
        """Names of all objects of the log."""
        return sorted(self._broker.sizes(self._prefix, PURPOSE))


def log_origin(audit_uri: str) -> str:
    """The log's name: the audit prefix without its scheme."""
    location = parse(audit_uri)
    return f"{location.bucket}/{location.key}".rstrip("/")


class Journal:
    """One run's view of the log."""

    def __init__(
        self,
        run: str,
        audit_uri: str,
        broker: BrokerClient,
        sign: Callable[[bytes], bytes],
        audit_key: KeyRef,
    ) -> None:
        self._run = run
        self._uri = audit_uri
        self.store = BucketLogStore(broker, audit_uri)
        self._key = LogKey(log_origin(audit_uri), public_key(audit_key))
        self._log = AuditLog(self.store, self._key.name, sign, self._key.public_key)
        self._pending: list[Event] = []

    @property
    def vkey(self) -> str:
        """The line that verifies the log."""
        return self._key.vkey()

    @property
    def pending(self) -> bool:
        """Whether an event was noted and is not written yet."""
        return bool(self._pending)

    def note(self, actor: Actor, data: events.EventData) -> None:
        """Remember an event for the next ``record``; used where writing must wait a moment."""
        self._pending.append(new_event(self._run, actor, data))

    def record(self, actor: Actor, *data: events.EventData) -> None:
        """Write events, after those noted before; returns once a signed checkpoint holds them."""
        for item in data:
            self.note(actor, item)
        if not self._pending:
            return
        batch = list(self._pending)
        try:
            self._log.append([to_entry(event) for event in batch])
        except (LogUnreadable, LogNotWritable) as error:
            if isinstance(error.__cause__, BrokerLost):
                raise error.__cause__ from None
            raise type(error)(place=self._uri + error.place, actual=error.actual) from None
        # Writing may itself have noted an event (a lease); that one waits for the next time.
        del self._pending[: len(batch)]

    def view(self) -> LogView:
        """The whole log, verified."""
        return read_log(self.store, self.vkey, self._key.name)

    def events(self, run: str = "") -> list[Event]:
        """This run's events so far, or another's, from the verified log.

        What a killed writer had begun to append is completed first: it comes before whatever is
        decided from the history.
        """
        self._log.finish()
        found = (from_entry(entry) for entry in self.view().entries)
        return [event for event in found if event.run == (run or self._run)]
