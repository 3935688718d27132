"""``strongroom verify``: reads what the rules ask for, from the bucket and the log alone.

What holds is decided in :mod:`strongroom.pipeline.inspection.rules`. Objects that are only held
against a digest are read in constant memory.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from strongroom.audit.events.entries import Event
from strongroom.audit.events.order import read_history
from strongroom.audit.log.verify import Check, LogView, check_log, failure
from strongroom.connectors.buckets.errors import ObjectMissing
from strongroom.crypto.digests import Sha256
from strongroom.crypto.manifest import DatasetManifest
from strongroom.enclave.plan.document import Plan
from strongroom.enclave.plan.objects import MANIFEST
from strongroom.errors import StrongroomError
from strongroom.pipeline.broker.log import log_origin
from strongroom.pipeline.broker.reading import RunReader
from strongroom.pipeline.inspection.rules import Pin, Read, Rules
from strongroom.pipeline.inspection.trust import Trust


@dataclass(frozen=True)
class Verification:
    """Every check of a run, and what it was found by: log, all of its events, admitted plan, and
    the signed manifests of what was sealed, by the address of their folder."""

    checks: tuple[Check, ...]
    log: LogView | None
    events: tuple[Event, ...]
    plan: Plan | None
    manifests: Mapping[str, DatasetManifest]


def verify(access: RunReader, run: str, trust: Trust) -> Verification:
    """Make every check of a run that can be made, with what whoever verifies brings."""
    layout = access.layout
    rules = Rules(run, layout, access.audit)

    def pinned(pins: Iterable[Pin]) -> None:
        for pin in pins:
            rules.take_digest(pin, _digest(access, pin.uri))

    log, events = _read_log(access, trust, rules)
    plan = rules.take_plan(_read(access, layout.plan))
    if plan is not None:
        for sealed in rules.sealed(plan):
            pinned(rules.take_manifest(plan, sealed, _read(access, sealed.ref.uri + MANIFEST)))
        pinned(rules.inputs(plan))
        pinned(rules.keyset())
        for logged in rules.checkpoints():
            manifest = _read(access, layout.manifest(logged.step))
            pinned(rules.take_checkpoint(plan, logged, manifest))
        rules.take_result(plan, _read(access, layout.result))
    rules.take_names(access.names(layout.folder))
    return Verification(tuple(rules.checks), log, events, plan, rules.manifests)


def _read_log(
    access: RunReader, trust: Trust, rules: Rules
) -> tuple[LogView | None, tuple[Event, ...]]:
    checks, log = check_log(
        access.log(),
        trust.vkey,
        log_origin(access.audit),
        trust.copy,
        since=trust.since,
        witnesses=trust.witnesses,
    )
    events: list[Event] = []
    for place, event, error in read_history(log.entries) if log is not None else ():
        if error is not None:
            checks.append(replace(failure("entries", error), object=f"entry {place}"))
        if event is not None:
            events.append(event)
    rules.take_log(checks, tuple(events))
    return log, tuple(events)


def _read(access: RunReader, uri: str) -> Read:
    try:
        data = access.get(uri)
    except StrongroomError as error:
        return error
    return ObjectMissing(place=uri) if data is None else data


def _digest(access: RunReader, uri: str) -> Sha256 | StrongroomError:
    found = hashlib.sha256()
    try:
        for piece in access.stream(uri):
            found.update(piece)
    except StrongroomError as error:
        return error
    return Sha256(f"sha256:{found.hexdigest()}")
