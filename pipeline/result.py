"""``result.json``: what a run came to. It follows from the log alone, byte for byte, so a verifier
can write it again and compare."""

from __future__ import annotations

from collections.abc import Iterable

from audit import event_types as events
from audit.events import Event
from crypto.digests import canonical


def result_of(run: str, plan_digest: str, history: Iterable[Event]) -> bytes:
    """The result of a run with these events: its last checkpoint and its evaluations."""
    step, adapter, manifest, rows = 0, "", "", 0
    evaluations: dict[str, dict[str, float]] = {}
    for event in history:
        match event.data:
            case events.CheckpointWritten() as data:
                step, adapter, manifest = data.step, data.adapter, data.manifest
            case events.EvaluationFinished() as data:
                evaluations[data.phase] = data.values
                rows = data.records
    return canonical(
        {
            "version": 1,
            "run": run,
            "plan_digest": plan_digest,
            "step": step,
            "adapter_sha256": adapter,
            "manifest_sha256": manifest,
            "evaluation": evaluations,
            "rows": rows,
        }
    )
