"""``strongroom resume``."""

from __future__ import annotations

from strongroom.pipeline.cli.options import STATE, Json, RunId, State
from strongroom.pipeline.cli.reporting import reporting
from strongroom.pipeline.cli.runs.outcome import show_outcome
from strongroom.pipeline.cli.watching import watching


def resume(run: RunId, state: State = STATE, as_json: Json = False) -> None:
    """Continue a run that was interrupted, from its last checkpoint."""
    from strongroom.pipeline import controller
    from strongroom.pipeline.background import registry, run_locks

    with reporting(as_json):
        spec = registry.recall(state, run)
        with (
            run_locks.controlling(state, run),
            watching(as_json, spec.spec.training.steps) as watcher,
        ):
            outcome = controller.resume(spec, run, watcher)
        show_outcome(outcome, as_json)
