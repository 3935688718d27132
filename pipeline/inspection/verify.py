"""``strongroom verify``: reads what the rules ask for, from the bucket and the log alone.

What holds is decided in :mod:`strongroom.pipeline.inspection.rules`. Objects that are only held
against a digest are read in constant memory.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from strongroom.audit.events.entries import Event, from_entry
from strongroom.audit.log.verify import Check, LogView, check_log, read_log
from strongroom.connectors.buckets.errors import ObjectMissing
from strongroom.crypto.digests import Sha256
from strongroom.crypto.manifest import DatasetManifest
from strongroom.enclave.plan.document import Plan
from strongroom.enclave.plan.objects import MANIFEST
from strongroom.errors import StrongroomError
from strongroom.pipeline.broker.reading import ReadAccess, ReadOnlyLog
from strongroom.pipeline.inspection.log import log_vkey
from strongroom.pipeline.inspection.rules import Pin, Read, Rules
from strongroom.pipeline.run.record.journal import log_origin
from strongroom.pipeline.runfile.spec import RunSpec


@dataclass(frozen=True)
class Verification:
    """Every check of a run, and what it was found by: log, all of its events, admitted plan, and
    the signed manifests of what was sealed, by the address of their folder."""

    checks: tuple[Check, ...]
    log: LogView | None
    events: tuple[Event, ...]
    plan: Plan | None
    manifests: Mapping[str, DatasetManifest]


def verify(access: ReadAccess, run: str, vkey: str) -> Verification:
    """Make every check of a run that can be made; ``vkey`` is the log's verifier key."""
    layout = access.layout
    rules = Rules(run, layout, access.audit)

    def pinned(pins: Iterable[Pin]) -> None:
        for pin in pins:
            rules.take_digest(pin, _digest(access, pin.uri))

    log, events = _read_log(access, vkey, rules)
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


def verify_run(spec: RunSpec, run: str, vkey: str = "") -> tuple[Check, ...]:
    """Every check of a run, with the verifier key that the key's owner tells if none is given."""
    return verify(ReadAccess(spec, run), run, vkey or log_vkey(spec)).checks


def _read_log(
    access: ReadAccess, vkey: str, rules: Rules
) -> tuple[LogView | None, tuple[Event, ...]]:
    store, origin = ReadOnlyLog(access), log_origin(access.audit)
    checks = check_log(store, vkey, origin, keys=store.keys())
    log: LogView | None = None
    try:
        log = read_log(store, vkey, origin)
        events = tuple(from_entry(entry) for entry in log.entries)
    except StrongroomError as error:
        rules.take_log(checks, error)
        return log, ()
    rules.take_log(checks, events)
    return log, events


def _read(access: ReadAccess, uri: str) -> Read:
    try:
        data = access.get(uri)
    except StrongroomError as error:
        return error
    return ObjectMissing(place=uri) if data is None else data


def _digest(access: ReadAccess, uri: str) -> Sha256 | StrongroomError:
    found = hashlib.sha256()
    try:
        for piece in access.stream(uri):
            found.update(piece)
    except StrongroomError as error:
        return error
    return Sha256(f"sha256:{found.hexdigest()}")
