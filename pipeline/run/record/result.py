"""``result.json``: what a run came to. It follows from the log alone, byte for byte, so a verifier
can write it again and compare."""

from __future__ import annotations

from collections.abc import Iterable

from strongroom.audit.events.entries import Event
from strongroom.crypto.digests import canonical
from strongroom.pipeline.run.record.history import History


def result_of(run: str, plan_digest: str, log: Iterable[Event]) -> bytes:
    """The result of a run with these events: its chosen checkpoint and its evaluations."""
    history = History.of(event.data for event in log)
    chosen, finished = history.chosen, history.finished
    return canonical(
        {
            "version": 1,
            "run": run,
            "plan_digest": plan_digest,
            "step": chosen.step if chosen else 0,
            "adapter_sha256": chosen.adapter if chosen else "",
            "manifest_sha256": chosen.manifest if chosen else "",
            "evaluation": history.evaluations,
            "rows": history.evaluated_rows,
            "trained_steps": finished.step if finished else 0,
            "ended": finished.reason if finished else "",
        }
    )
