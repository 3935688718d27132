"""``strongroom replay``."""

from __future__ import annotations

from strongroom.pipeline.cli.console import Styled, out
from strongroom.pipeline.cli.options import STATE, Json, RunId, State
from strongroom.pipeline.cli.reporting import reporting
from strongroom.pipeline.cli.runs.outcome import show_outcome
from strongroom.pipeline.cli.watching import watching


def replay(run: RunId, state: State = STATE, as_json: Json = False) -> None:
    """Do a finished run again from its plan, and prove that it comes out the same."""
    from strongroom.pipeline import controller
    from strongroom.pipeline.background import registry

    with reporting(as_json):
        spec = registry.recall(state, run)
        with watching(as_json, spec.spec.training.steps) as watcher:
            outcome = controller.replay(spec, run, watcher)
        if not as_json:
            out.say(Styled("the same", "green"), ", byte for byte: every checkpoint and the result")
        show_outcome(outcome, as_json)
