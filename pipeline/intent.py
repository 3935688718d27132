"""What a run file asks for, as one digest.

The run file with its variables and defaults, and the evaluator's code. What was found in the world
(manifests, model files, measurement, policy) has no part in it: that is the plan's digest.
"""

from __future__ import annotations

from typing import Any

from crypto.digests import Sha256, digest_of, sha256
from pipeline.plan import Plan
from pipeline.spec import RunSpec

_IN_ID = 12


def intent(spec: RunSpec) -> Sha256:
    """SHA-256 of what is asked for; a sealed evaluator counts by its URI."""
    source = spec.spec.evaluator.source
    return _intent(spec.normalised(), None if source is None else sha256(source.read_bytes()))


def planned_intent(plan: Plan) -> Sha256:
    """SHA-256 of what was asked for when the plan was made."""
    return _intent(plan.spec, None if plan.evaluator.sealed else plan.evaluator.sha256)


def _intent(run_file: dict[str, Any], evaluator: Sha256 | None) -> Sha256:
    return digest_of({"run_file": run_file, "evaluator": evaluator})


def stable_run_id(spec: RunSpec) -> str:
    """``<name>-<beginning of the intent>``: the same file has the same id, within 63 characters."""
    digest = intent(spec).removeprefix("sha256:")[:_IN_ID]
    return f"{spec.metadata.name[: 62 - _IN_ID].rstrip('-')}-{digest}"
