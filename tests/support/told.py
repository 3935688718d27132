"""The least that a run has to tell, in its order; and events as their callers send them."""

from __future__ import annotations

from datetime import datetime

from strongroom.audit.events import types
from strongroom.audit.events.entries import Event, new_event
from strongroom.audit.events.order import ACTORS

PLAN, EVIDENCE, CODE, OTHER = (f"sha256:{letter * 64}" for letter in "abcd")

ADMITTED = types.RunAdmitted(
    plan=PLAN,
    policy=OTHER,
    rules_passed=12,
    waivers=0,
    base_model=OTHER,
    evaluator=OTHER,
    datasets=(),
    outputs="s3://acme-data/runs/",
)
STARTED = types.EnclaveStarted(
    measurement=CODE,
    assurance="A1",
    evidence=EVIDENCE,
    signing_key="ed25519:" + "A" * 43 + "=",
    probes={"fork": "blocked"},
)
RELEASED = types.KeyReleased(
    plan=PLAN, evidence=EVIDENCE, measurement=CODE, assurance="A1", keys=()
)
WRITTEN = types.CheckpointWritten(
    step=2, uri="s3://acme-data/runs/r/2/", objects=(), adapter=OTHER, manifest=CODE
)
FINISHED = types.TrainingFinished(step=2, reason="steps", chosen=2)
PUBLISHED = types.RunPublished(uri=WRITTEN.uri, manifest=CODE, adapter=OTHER, objects=())
COMPLETED = types.RunCompleted(steps=2, seconds=1.0, adapter=OTHER, manifest=CODE)
FAILED = types.RunFailed(code="SR-RUN-001", stage="train", step=0)
EXPORTED = types.AdapterExported(step=2, adapter=OTHER, form="merged")
LEASE = types.LeaseIssued(
    lease="0123456789abcdef",
    purpose="data-read",
    role="arn:aws:iam::000000000000:role/strongroom",
    bucket="acme-data",
    read=("datasets/feedback/train/",),
    create=(),
    ttl_s=900,
    expires_at="2026-01-02T03:04:05.678Z",
)


def step(number: int) -> types.TrainingStep:
    """A training step."""
    return types.TrainingStep(step=number, values={"loss": 0.5})


BEFORE_KEYS: tuple[types.EventData, ...] = (ADMITTED, LEASE, STARTED)
AFTER_KEYS: tuple[types.EventData, ...] = (
    step(1),
    step(2),
    WRITTEN,
    FINISHED,
    PUBLISHED,
    COMPLETED,
)
"""What a run says before the releaser gives it keys (``RELEASED``), and from then on."""


def said(data: types.EventData, run: str = "r", at: datetime | None = None) -> Event:
    """An event of a run, as the role that sees it says it."""
    return new_event(run, ACTORS[type(data)], data, at=at)
