"""``strongroom explain denial``."""

from __future__ import annotations

import msgspec

from strongroom.pipeline.cli.console import out, print_json
from strongroom.pipeline.cli.options import STATE, Json, RunId, State
from strongroom.pipeline.cli.reporting import reporting


def denial(run: RunId, state: State = STATE, as_json: Json = False) -> None:
    """Print which rules or checks refused a run, from the audit log."""
    from strongroom.pipeline.background import registry
    from strongroom.pipeline.inspection.denials import denials
    from strongroom.pipeline.inspection.log import Logs

    with reporting(as_json):
        found = denials(registry.recall(state, run), run, Logs(state))
        if as_json:
            print_json(msgspec.to_builtins(found))
            return
        for refusal in found:
            out.say(f"{refusal.time}  {refusal.event:<12} {refusal.reason}")
        if not found:
            out.say(f"nothing in the log denied {run}")
