"""From a run file and facts to a plan.

``build_plan`` is pure: the same run file and facts give the same plan, byte for byte, on every
machine. Its rules lie with the document, in ``enclave.plan``, where all who read a plan check them.
"""

from __future__ import annotations

from typing import Any

import msgspec
from pydantic import ValidationError

from strongroom.crypto.digests import canonical
from strongroom.enclave.channel.errors import FrameTooLarge
from strongroom.enclave.plan.derived import (
    Found,
    check_derived,
    contradictions,
    derive,
    key_refs,
    planned_writes,
)
from strongroom.enclave.plan.document import MAX_PLAN_BYTES, Plan
from strongroom.enclave.plan.errors import PlanInconsistent
from strongroom.enclave.plan.leases import plan_leases
from strongroom.enclave.plan.objects import RunLayout, check_run_id
from strongroom.enclave.plan.parts import DatasetFacts, PlanFacts
from strongroom.enclave.plan.run_file import NormalisedRun
from strongroom.errors import ErrorList
from strongroom.pipeline.planning.facts import Facts
from strongroom.pipeline.runfile.errors import FactsDisagree
from strongroom.pipeline.runfile.spec import RunSpec


def build_plan(spec: RunSpec, facts: Facts, run_id: str) -> Plan:
    """The plan of one run. Pure.

    Raises ``BadRunId``, and ``ErrorList`` of ``FactsDisagree`` whose places are paths in the run
    file (``spec.model.digest``), and ``FrameTooLarge``.
    """
    run, evaluator = spec.spec, facts.evaluator
    sizes = facts.train.sizes(run.data.train) | facts.held_out.sizes(run.data.held_out)
    sealed = run.evaluator.sealed or ""
    if isinstance(evaluator, DatasetFacts):
        sizes |= evaluator.sizes(sealed)
    found = Found(
        train=facts.train.at(run.data.train),
        held_out=facts.held_out.at(run.data.held_out),
        evaluator=evaluator.at(sealed) if isinstance(evaluator, DatasetFacts) else evaluator,
        files=facts.model.files,
        precision="bfloat16" if facts.bfloat16 else "float32",
        code=facts.code,
        policy=facts.policy,
        facts=PlanFacts(
            data_bucket=facts.data_bucket,
            outputs_bucket=facts.outputs_bucket,
            audit_bucket=facts.audit_bucket,
            kms=facts.kms,
        ),
        sizes=sizes,
    )
    plan = derive(run_id, spec.normalised(), found)
    errors = [
        FactsDisagree(place=each.place, expected=each.expected, actual=each.actual)
        for each in contradictions(plan)
    ]
    if errors:
        raise ErrorList(errors)
    if (size := len(plan.to_json())) > MAX_PLAN_BYTES:
        limit = f"at most {MAX_PLAN_BYTES} bytes of plan"
        raise FrameTooLarge(place="spec.data", expected=limit, actual=f"{size} bytes")
    return plan


def early_part(spec: RunSpec, run_id: str) -> dict[str, Any]:
    """What of a plan follows from the run file alone, as policy rules read it. Pure."""
    document = spec.normalised()
    asked = NormalisedRun.of(document)
    layout = RunLayout(asked.outputs, check_run_id(run_id))
    sealed = asked.evaluator.sealed
    return {
        "version": 1,
        "run": run_id,
        "spec": document,
        "outputs": asked.outputs,
        "audit": asked.audit,
        "data": {"train": {"uri": asked.data.train}, "held_out": {"uri": asked.data.held_out}},
        "model": {"uri": asked.model.base},
        "evaluator": {"sealed": None if sealed is None else {"uri": sealed}},
        "objects": {"writes": msgspec.to_builtins(planned_writes(asked, layout))},
        "leases": msgspec.to_builtins(plan_leases(asked, layout)),
        "keys": msgspec.to_builtins(key_refs(asked)),
    }


def check_plan(plan: Plan) -> None:
    """Check a plan that somebody else made.

    Raises ``PlanInconsistent``, or a list of them, where its run file is none, or where a field
    does not follow from the others (``enclave.plan.derived``).
    """
    try:
        RunSpec.parse(canonical(plan.spec))
    except ValidationError as error:
        first = ".".join(map(str, error.errors()[0]["loc"]))
        raise PlanInconsistent(
            place="spec", expected="a run file of this version", actual=f"a fault at {first[:200]}"
        ) from None
    check_derived(plan)
