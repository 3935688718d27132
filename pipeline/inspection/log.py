"""A run's part of the audit log, read with leases that can only read, and the key it is held to."""

from __future__ import annotations

from dataclasses import dataclass

from strongroom.audit.events.entries import Event, from_entry
from strongroom.audit.log.note import LogKey
from strongroom.audit.log.verify import LogView, read_log
from strongroom.crypto.dsse import KeyRef, public_key
from strongroom.pipeline.broker.reading import ReadAccess, ReadOnlyLog
from strongroom.pipeline.planning.errors import ReleaserMissing
from strongroom.pipeline.releaser.client import ReleaserClient
from strongroom.pipeline.run.record.journal import log_origin
from strongroom.pipeline.runfile.spec import RunSpec


@dataclass(frozen=True)
class RunLog:
    """The verified log, and the events in it that are of one run, in order."""

    view: LogView
    events: tuple[Event, ...]


def log_vkey(spec: RunSpec) -> str:
    """The log's verifier key, asked of the key's owner; an auditor brings their own instead."""
    if spec.spec.keys.releaser is None:
        raise ReleaserMissing(place="spec.keys.releaser")
    releaser = ReleaserClient(spec.spec.keys.releaser)
    audit = KeyRef(releaser.public_keys(spec.spec.keys.audit).audit)
    return LogKey(log_origin(spec.spec.audit), public_key(audit)).vkey()


def read_run_log(spec: RunSpec, run: str, vkey: str = "") -> RunLog:
    """A run's events, from the whole log verified. Raises as ``read_log`` does."""
    store = ReadOnlyLog(ReadAccess(spec, run))
    view = read_log(store, vkey or log_vkey(spec), log_origin(spec.spec.audit))
    events = (from_entry(entry) for entry in view.entries)
    return RunLog(view, tuple(event for event in events if event.run == run))
