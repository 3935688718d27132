"""``strongroom run``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from strongroom.pipeline.cli.console import Styled, out, print_json
from strongroom.pipeline.cli.options import STATE, Json, Params, RunFile, State
from strongroom.pipeline.cli.reporting import reporting
from strongroom.pipeline.cli.run_file import read_run_file
from strongroom.pipeline.cli.runs.outcome import show_outcome
from strongroom.pipeline.cli.watching import watching

if TYPE_CHECKING:
    from strongroom.pipeline.runfile.load import LoadedRun


def run(
    run_file: RunFile,
    params: Params = None,
    run_id: Annotated[str, typer.Option("--id", help="The run's id; default: a new one.")] = "",
    go_on: Annotated[
        bool, typer.Option("--resume", help="Go on with the run of this id where there is one.")
    ] = False,
    detach: Annotated[
        bool, typer.Option("--detach", help="Leave the run to a supervisor on this machine.")
    ] = False,
    planned: Annotated[
        str,
        typer.Option("--intent", help="Refuse a file that asks for anything but what `plan` saw."),
    ] = "",
    state: State = STATE,
    as_json: Json = False,
) -> None:
    """Run a run file to its end, here or detached."""
    from strongroom.pipeline import controller
    from strongroom.pipeline.background import registry, run_locks
    from strongroom.pipeline.planning.errors import IntentChanged, RunExists
    from strongroom.pipeline.planning.intent import intent, new_run_id

    with reporting(as_json):
        loaded = read_run_file(run_file, params, state)
        if planned and planned != (found := intent(loaded.spec)):
            raise IntentChanged(place=str(run_file), expected=planned, actual=found)
        identity = run_id or new_run_id(loaded.spec.metadata.name)
        if detach:
            _submit(loaded, identity, state, as_json)
            return
        if not as_json:
            out.say("run ", Styled(identity, "bold"))
        start = controller.run_or_resume if go_on else controller.run
        with run_locks.controlling(state, identity):
            before = registry.remember(state, identity, loaded.spec, run_file)
            try:
                with watching(as_json, loaded.spec.spec.training.steps) as watcher:
                    outcome = start(loaded, identity, watcher)
            except RunExists:
                registry.put_back(state, identity, before)
                raise
        show_outcome(outcome, as_json)


def _submit(loaded: LoadedRun, run: str, state: Path, as_json: bool) -> None:
    from strongroom.pipeline.background.submit import submit

    found = submit(state, loaded, run)
    if as_json:
        print_json({"run": run, "state": found})
    else:
        out.say("run ", Styled(run, "bold"), f": {found}")
        out.say(f"follow it with `strongroom wait {run}`")
