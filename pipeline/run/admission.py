"""A run's admission by the policy, and its events."""

from __future__ import annotations

import re
from pathlib import Path

from strongroom.audit.events import types as events
from strongroom.enclave.plan.document import Plan
from strongroom.pipeline.planning.plan import early_part
from strongroom.pipeline.run.record.journal import Journal
from strongroom.pipeline.runfile.load import LoadedRun
from strongroom.policies.gate import denial_list, evaluate, evaluate_early


def admit_early(loaded: LoadedRun, run_id: str) -> None:
    """Ask the rules that need the run file alone, before anything is connected.

    Nothing is logged: a log is reached by what the run file says, too.
    """
    bundle = Path(loaded.spec.spec.policy.bundle)
    decision = evaluate_early(bundle, early_part(loaded.spec, run_id))
    if not decision.allowed:
        raise denial_list(decision, loaded.position)


def admit(loaded: LoadedRun, plan: Plan, journal: Journal) -> None:
    """Ask the policy; log its decision; raise its denials with their lines in the run file."""
    decision = evaluate(Path(loaded.spec.spec.policy.bundle), plan.to_dict())
    if not decision.allowed:
        journal.record(
            "controller",
            events.RunDenied(
                plan=plan.digest,
                policy=decision.bundle_digest,
                denials=tuple(
                    events.Denial(rule=denial.rule, control=_word(denial.control))
                    for denial in decision.denials
                ),
            ),
        )
        raise denial_list(decision, loaded.position)
    journal.record(
        "controller",
        events.RunAdmitted(
            plan=plan.digest,
            policy=decision.bundle_digest,
            rules_passed=len(decision.passed),
            waivers=len(decision.waived),
            base_model=plan.model.digest,
            evaluator=plan.evaluator.sha256,
            datasets=tuple(
                events.DatasetRef(
                    name=ref.name,
                    uri=ref.uri,
                    manifest=ref.manifest_sha256,
                    shards=ref.shards,
                    records=ref.records,
                )
                for ref in (plan.data.train, plan.data.held_out)
            ),
            outputs=plan.outputs,
        ),
    )


def _word(control: str) -> str:
    """A control's name as the log spells names: ``NIST SP 800-53 SI-7(15)`` has no such signs."""
    return re.sub(r"[^A-Za-z0-9._@+/-]+", "_", control).strip("_")[:128]
