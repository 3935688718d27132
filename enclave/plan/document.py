"""The plan: everything that a run will read, write, hold and be allowed to do, under one digest.

Policy decides on the plan, the releaser and the enclave check its digest, and a run whose plan has
drifted since approval is refused. Which of its fields follow from others says
``enclave.plan.derived``; whoever acts on a plan that somebody else gave checks them first.

The document is canonical JSON (RFC 8785). ``Plan.from_json`` accepts no other form of it.
"""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from strongroom.crypto.digests import Sha256, canonical, sha256
from strongroom.crypto.errors import NotCanonical
from strongroom.enclave.channel.capacity import Limits
from strongroom.enclave.channel.framing import MAX_CONTROL_BYTES
from strongroom.enclave.plan.errors import PlanMalformed
from strongroom.enclave.plan.objects import PLAN
from strongroom.enclave.plan.parts import (
    CodeFacts,
    DataRefs,
    EvaluatorRef,
    KeyRefs,
    LeaseRef,
    ModelRef,
    Objects,
    PlanFacts,
    PolicyFacts,
)
from strongroom.enclave.plan.run_file import NormalisedRun
from strongroom.errors import bounded_json
from strongroom.trainer.config import TrainingConfig

MAX_PLAN_BYTES = MAX_CONTROL_BYTES
"""An enclave is started on a plan, which comes in one record."""


class Plan(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The plan document. ``pipeline.planning.plan.build_plan`` makes it."""

    version: Literal[1] = 1
    run: str
    spec: dict[str, Any]
    """The normalised run file: ``RunSpec.normalised()``."""
    outputs: str
    """Prefix under which the run's folder lies."""
    audit: str
    """Prefix of the audit log."""
    data: DataRefs
    model: ModelRef
    evaluator: EvaluatorRef
    code: CodeFacts
    policy: PolicyFacts
    objects: Objects
    leases: tuple[LeaseRef, ...]
    keys: KeyRefs
    facts: PlanFacts
    limits: Limits
    capacity_bits: int

    @property
    def run_file(self) -> NormalisedRun:
        """What of the run file the plan's fields follow from. Raises ``PlanMalformed``."""
        return NormalisedRun.of(self.spec)

    @property
    def training(self) -> TrainingConfig:
        """``spec.training`` of the run file."""
        return self.run_file.training

    def to_json(self) -> bytes:
        """Canonical JSON; what is stored as ``plan.json`` and what the digest is over."""
        return canonical(self)

    @property
    def digest(self) -> Sha256:
        """SHA-256 of :meth:`to_json`."""
        return sha256(self.to_json())

    def to_dict(self) -> dict[str, Any]:
        """Plain data, as policy rules read it."""
        data = bounded_json.decode(self.to_json())
        return dict(data)

    @classmethod
    def from_json(cls, data: bytes, *, place: str = PLAN) -> Plan:
        """Read a plan; unknown, missing or repeated fields and other spellings are refused.

        Raises ``PlanMalformed``.
        """
        if len(data) > MAX_PLAN_BYTES:
            raise PlanMalformed(place=place, expected=f"at most {MAX_PLAN_BYTES} bytes")
        try:
            plan = bounded_json.decode(data, shape=cls)
        except msgspec.DecodeError as error:
            raise PlanMalformed(place=place, actual=str(error)) from None
        try:
            is_canonical = plan.to_json() == data
        except NotCanonical:
            is_canonical = False
        if not is_canonical:
            raise PlanMalformed(place=place, expected="canonical JSON", actual="another spelling")
        return plan
