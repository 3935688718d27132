"""Whether the plan was approved before anything was done, and what was refused stayed refused."""

from __future__ import annotations

from collections.abc import Iterator

from strongroom.audit.events import types
from strongroom.audit.report.controls.row import (
    NO_PLAN,
    Case,
    Finding,
    each,
    faults,
    places,
    plural,
)
from strongroom.audit.report.entries import Entry, of

DOINGS = (
    types.EnclaveStarted,
    types.KeyReleased,
    types.ShardOpened,
    types.TrainingStep,
    types.EvaluationFinished,
    types.CheckpointWritten,
    types.RunPublished,
    types.RunCompleted,
)
"""What may be done for an admitted plan only."""


def admission(case: Case) -> Iterator[Finding]:
    """The plan in the bucket was admitted, by its digest, before anything was done; before each key
    release, the policy's last word on that plan was its admission; it was decided by the bundle in
    the plan, all of its rules passed or were waived, and no more were waived than the plan names,
    with waivers that had not expired. What was resumed had been admitted."""
    admitted, doings = of(case.entries, types.RunAdmitted), of(case.entries, *DOINGS)
    early = [e for e in doings if not admitted or e.index < admitted[0].index]
    if early:
        yield Finding("the run went on before a plan was admitted", False, places(early))
    yield from each(
        "before each key release, the policy’s last word on its plan was its admission",
        of(case.entries, types.KeyReleased),
        lambda release: _last_word(case, release),
    )
    plans = {entry.data.plan for entry in admitted}
    resumed = of(case.entries, types.RunResumed)
    yield from each(
        f"resumed {plural(len(resumed), 'time')}, with an admitted plan",
        resumed,
        lambda entry: "" if entry.data.plan in plans else "resumed with a plan not admitted",
    )
    if not admitted:
        return
    if not case.planned.known:
        yield NO_PLAN
        return
    ours = [entry for entry in admitted if entry.data.plan == case.planned.digest]
    if not ours:
        says = "no admission names the plan that lies in the run’s folder"
        yield Finding(says, False, places(admitted))
    yield from each(
        f"the plan was admitted by the policy bundle that it names, all {case.planned.rules} rules "
        "decided, and none was waived that the plan does not name",
        ours,
        lambda entry: _wrong_with(case, entry),
    )


def _wrong_with(case: Case, entry: Entry[types.RunAdmitted]) -> str:
    data, planned = entry.data, case.planned
    counting = [w for w in planned.waivers if w.expires >= entry.time[:10]]
    return faults(
        (data.policy == planned.policy, f"by bundle {data.policy}, planned was {planned.policy}"),
        (
            data.rules_passed + data.waivers == planned.rules,
            f"{data.rules_passed} rules passed and {data.waivers} were waived, of {planned.rules}",
        ),
        (data.rules_passed > 0, "no rule passed"),
        (
            data.waivers <= len(counting),
            f"{data.waivers} rules were waived; waivers in the plan that had not expired: "
            f"{len(counting)}",
        ),
    )


def _last_word(case: Case, release: Entry[types.KeyReleased]) -> str:
    said = [
        entry
        for entry in of(case.entries, types.RunAdmitted, types.RunDenied)
        if entry.index < release.index
    ]
    if not said:
        return "keys were released before a plan was admitted"
    data = said[-1].data
    return faults(
        (isinstance(data, types.RunAdmitted), "keys were released after the plan was denied"),
        (data.plan == release.data.plan, "keys were released for a plan that was not admitted"),
    )


def inputs(case: Case) -> Iterator[Finding]:
    """The admission names the plan's base model, evaluator, datasets and place for outputs; every
    object that is read has the digest in the plan, or in a signed manifest that the plan pins."""
    planned = case.planned
    if not planned.known:
        yield NO_PLAN
        return
    ours = [e for e in of(case.entries, types.RunAdmitted) if e.data.plan == planned.digest]
    pinned = tuple(
        types.DatasetRef(d.name, d.uri, d.manifest, d.shards, d.records) for d in planned.datasets
    )

    def wrong(entry: Entry[types.RunAdmitted]) -> str:
        data = entry.data
        return faults(
            (data.base_model == planned.base_model, "another base model than the plan’s"),
            (data.evaluator == planned.evaluator, "another evaluator than the plan’s"),
            (data.datasets == pinned, "other datasets than the plan’s"),
            (data.outputs == planned.outputs, "another place for outputs than the plan’s"),
        )

    yield from each(
        "admitted were the plan’s base model, evaluator, datasets and place for outputs",
        ours,
        wrong,
    )
    yield case.objects("what was read", planned.inputs, places(ours))


def refusals(case: Case) -> Iterator[Finding]:
    """An enclave that was refused got no key; no step was trained after a record was rejected; a
    run that had failed, or was denied, went on by a new admission or a resumption only."""
    denied = of(case.entries, types.KeyDenied)
    released = {entry.data.evidence for entry in of(case.entries, types.KeyReleased)}
    admitted = {entry.data.plan for entry in of(case.entries, types.RunAdmitted)}
    yield from each(
        f"{plural(len(denied), 'key release')} refused; none of these enclaves got a key",
        denied,
        lambda entry: faults(
            (entry.data.evidence not in released, "keys went to an enclave that was refused"),
            (
                entry.data.role != "train" or entry.data.subject in admitted,
                "refused for a plan that was not admitted",
            ),
            (bool(entry.data.reasons), "refused for no reason"),
        ),
    )
    rejected = of(case.entries, types.RecordRejected)
    yield from each(
        f"{plural(len(rejected), 'record')} rejected; no step was trained after that",
        rejected,
        lambda entry: _trained_on(case, entry.index),
    )
    failed = of(case.entries, types.RunFailed, types.RunDenied)
    yield from each(
        f"the run failed or was denied {plural(len(failed), 'time')}; nothing went on from there "
        "but by a new admission or a resumption",
        failed,
        lambda entry: _went_on(case, entry.index),
    )
    if not (denied or rejected or failed):
        everything = places(case.entries)
        if everything:
            first, final = everything[0], everything[-1]
            says = f"nothing was refused, rejected or failed in entries {first} to {final}"
            yield Finding(says, True, (first, final))


def _trained_on(case: Case, index: int) -> str:
    for session in case.sessions():
        used = any(isinstance(e.data, types.TrainingStep) and e.index > index for e in session)
        if session[0].index < index and used and index < session[-1].index:
            return "training went on after a record was rejected"
    return ""


def _went_on(case: Case, index: int) -> str:
    after = [
        entry
        for entry in of(case.entries, types.RunAdmitted, types.RunResumed, *DOINGS)
        if entry.index > index
    ]
    resumed = not after or isinstance(after[0].data, types.RunAdmitted | types.RunResumed)
    return "" if resumed else f"{after[0].type} follows at once on a run that had ended"
