"""``strongroom cancel``."""

from __future__ import annotations

from strongroom.pipeline.cli.console import out, print_json
from strongroom.pipeline.cli.options import STATE, Json, RunId, State
from strongroom.pipeline.cli.reporting import reporting


def cancel(run: RunId, state: State = STATE, as_json: Json = False) -> None:
    """End a run that is driven from here; what it wrote stays."""
    from strongroom.pipeline.background import submit

    with reporting(as_json):
        submit.cancel(state, run)
        if as_json:
            print_json({"run": run, "state": "cancelled"})
        else:
            out.say(f"{run}: cancelled; `strongroom resume {run}` goes on with it")
