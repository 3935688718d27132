"""``strongroom explain denial``: who refused a run, and why."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from strongroom.audit.events import types as events
from strongroom.pipeline.inspection.log import Logs
from strongroom.pipeline.runfile.spec import RunSpec


class Refusal(msgspec.Struct, frozen=True):
    """One reason of a refusal in the log: a policy rule, or a check of the releaser's."""

    time: str
    event: str
    reason: str


def denials(spec: RunSpec, run: str, logs: Logs) -> list[Refusal]:
    """Every refusal of a run in its log, in order."""
    return [
        Refusal(event.time, event.type, reason)
        for event in logs.of(spec, run).events
        for reason in _reasons(event.data)
    ]


def _reasons(data: events.EventData) -> Sequence[str]:
    match data:
        case events.RunDenied(denials=found):
            return [f"rule {each.rule} ({each.control})" for each in found]
        case events.KeyDenied(reasons=reasons):
            return reasons
    return ()
