"""What a run file asks for, as one digest.

The run file with its variables, and the evaluator's code. What was found in the world (manifests,
model files, measurement, policy) has no part in it: that is the plan's digest.

A field that holds its default counts as left out. So a new version's new optional fields change no
intent, and no run that is finished is made again. A default must keep its value for that: what
should be otherwise from now on is another field.
"""

from __future__ import annotations

import secrets
from datetime import UTC, datetime
from typing import Any

from pydantic import BaseModel, ValidationError

from strongroom.crypto.digests import Sha256, canonical, digest_of, sha256
from strongroom.enclave.plan.document import Plan
from strongroom.enclave.plan.objects import RunLayout
from strongroom.pipeline.planning.errors import RunExists
from strongroom.pipeline.runfile.evaluator_file import read_evaluator
from strongroom.pipeline.runfile.spec import RunSpec

_IN_ID = 12


def intent(spec: RunSpec) -> Sha256:
    """SHA-256 of what is asked for; a sealed evaluator counts by its URI."""
    source = spec.spec.evaluator.source
    return _intent(_asked_for(spec), None if source is None else sha256(read_evaluator(source)))


def planned_intent(plan: Plan) -> Sha256:
    """SHA-256 of what was asked for when the plan was made.

    A plan of another version, whose run file this one refuses, has the intent of no run file.
    """
    try:
        run_file = _asked_for(RunSpec.parse(canonical(plan.spec)))
    except ValidationError:
        run_file = plan.spec
    return _intent(run_file, None if plan.evaluator.sealed else plan.evaluator.sha256)


def _intent(run_file: dict[str, Any], evaluator: Sha256 | None) -> Sha256:
    return digest_of({"run_file": run_file, "evaluator": evaluator})


def _asked_for(part: BaseModel) -> dict[str, Any]:
    """What ``part`` says beyond its defaults; ``type`` always, since other defaults hang on it."""
    spelled = part.model_dump(mode="json", by_alias=True)
    said = {}
    for name, field in type(part).model_fields.items():
        value = getattr(part, name)
        if name == "type" or value != field.get_default(call_default_factory=True):
            key = field.alias or name
            said[key] = _spelled(value, spelled[key])
    return said


def _spelled(value: object, spelled: Any) -> Any:
    if isinstance(value, BaseModel):
        return _asked_for(value)
    if isinstance(value, tuple):
        return [_spelled(*pair) for pair in zip(value, spelled, strict=True)]
    return spelled


def new_run_id(name: str) -> str:
    """``<name>-<utc date>-<random>``, within 63 characters."""
    suffix = f"{datetime.now(UTC):%y%m%d}-{secrets.token_hex(3)}"
    return f"{name[: 62 - len(suffix)].rstrip('-')}-{suffix}"


def stable_run_id(spec: RunSpec) -> str:
    """``<name>-<beginning of the intent>``: the same file has the same id, within 63 characters."""
    digest = intent(spec).removeprefix("sha256:")[:_IN_ID]
    return f"{spec.metadata.name[: 62 - _IN_ID].rstrip('-')}-{digest}"


def check_same(plan: Plan, spec: RunSpec, layout: RunLayout) -> None:
    """Raises ``RunExists`` where the plan is not of this run file and its evaluator."""
    if planned_intent(plan) != intent(spec):
        raise RunExists(place=layout.plan, expected="this run file", actual="another one")
