"""What left the enclave as numbers, and what they say of the model."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping

from strongroom.audit.events import types
from strongroom.audit.report.charts import number
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

SCORE = "score_mean"
"""The held-out result of a run whose evaluator declares no metric."""


def channel(case: Case) -> Iterator[Finding]:
    """Every number has a name that the plan declares and four significant digits at most; one
    enclave said no more steps, evaluations and checkpoints than the plan's limits."""
    told = of(case.entries, types.TrainingStep, types.EvaluationFinished)
    plan = case.planned.numbers
    if told and plan is None:
        yield NO_PLAN
    if plan is None:
        return

    def wrong(entry: Entry[types.TrainingStep | types.EvaluationFinished]) -> str:
        data = entry.data
        step = isinstance(data, types.TrainingStep)
        allowed = plan.step_metrics if step else plan.evaluation_metrics
        foreign = sorted(set(data.values) - set(allowed))
        return faults(
            (not foreign, f"{', '.join(foreign)}: not declared"),
            (_rounded(data.values), "a number of more than four significant digits"),
            (data.step <= plan.steps, f"step {data.step} of {plan.steps}"),
        )

    yield from each(
        f"{plural(len(told), 'entry', 'entries')} with numbers, of declared names, four "
        "significant digits each",
        told,
        wrong,
    )
    limits = (
        (types.TrainingStep, plan.steps, "steps"),
        (types.EvaluationFinished, plan.evaluations + 2, "evaluations"),
        (types.CheckpointWritten, plan.checkpoints, "checkpoints"),
    )
    for session in case.sessions():
        for kind, most, what in limits:
            found = of(session, kind)
            if len(found) > most:
                says = f"{len(found)} {what} of one enclave, the plan counts {most}"
                yield Finding(says, False, places(found))


def _rounded(values: Mapping[str, float]) -> bool:
    return all(math.isfinite(v) and float(f"{v:.4g}") == v for v in values.values())


def evaluations(case: Case) -> Iterator[Finding]:
    """Each evaluation is of all records of the planned held-out dataset, and reports the declared
    metrics; a completed run has one before training and one after, and its result in the bucket
    has the same numbers."""
    found = of(case.entries, types.EvaluationFinished)
    if found and not case.planned.known:
        yield NO_PLAN
        return
    records = case.planned.datasets[-1].records if case.planned.datasets else 0
    declared = {f"evaluator_{name}" for name in case.planned.metrics}
    reported = {name for entry in found for name in entry.data.values}

    def wrong(entry: Entry[types.EvaluationFinished]) -> str:
        data = entry.data
        lacking = sorted((declared & reported | {SCORE}) - set(data.values))
        return faults(
            (data.records == records, f"{data.records} of {records} held-out records"),
            (not lacking, f"{', '.join(lacking)}: not reported"),
        )

    yield from each(
        f"each evaluation is of all {records} held-out records, by the same declared metrics",
        found,
        wrong,
    )
    if found and (never := declared - reported):
        yield Finding(f"declared and never reported: {', '.join(sorted(never))}", None)
    if of(case.entries, types.RunCompleted):
        phases = {entry.data.phase for entry in found}
        missing = [phase for phase in ("before", "after") if phase not in phases]
        says = "scored before and after training"
        if missing:
            says = f"completed without a score {' and '.join(missing)} training"
        yield Finding(says, not missing, places(found))
        if case.planned.numbers and case.planned.numbers.evaluations:
            scored = {entry.data.step for entry in found if entry.data.phase == "during"}
            yield from each(
                "each checkpoint was scored",
                of(case.entries, types.CheckpointWritten),
                lambda entry: "" if entry.data.step in scored else "a checkpoint was not scored",
            )
        if case.planned.result:
            yield case.objects("the result with these numbers", [case.planned.result])


def memory(case: Case) -> Iterator[Finding]:
    """The exposure of planted secrets is what a model shows that never saw them. Without planted
    secrets this is not tested."""
    remembered = case.memory
    found = of(case.entries, types.EvaluationFinished)
    if remembered is None:
        said = [entry for entry in found if "exposure_mean" in entry.data.values]
        if said and case.planned.known:
            yield Finding("exposure of secrets that the plan does not plant", False, places(said))
        yield Finding("not measured: no planted secret", None)
        return
    if not remembered.trained:
        yield Finding("only the base model was measured, which never saw them", None)
        return
    base, trained = remembered.measured[0], remembered.measured[-1]
    says = (
        f"exposure of {remembered.secrets} planted secrets: mean {number(trained.mean)} bits, "
        f"largest {number(trained.maximum)}; by luck below {number(remembered.likely_mean)} and "
        f"{number(remembered.likely_maximum)}; of the base model {number(base.mean)} and "
        f"{number(base.maximum)}"
    )
    yield Finding(says, remembered.by_luck, places(found))
