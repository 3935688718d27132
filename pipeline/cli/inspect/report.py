"""``strongroom report``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from strongroom.pipeline.cli.console import out, print_json
from strongroom.pipeline.cli.options import STATE, Json, RunId, State
from strongroom.pipeline.cli.reporting import reporting
from strongroom.pipeline.cli.watching import following


def report(
    run: RunId,
    to: Annotated[
        Path | None, typer.Option(help="File to write, .html or .svg; default: both, in the state.")
    ] = None,
    state: State = STATE,
    as_json: Json = False,
) -> None:
    """Write the report of a run: one HTML file, checkable without trusting it."""
    from strongroom.pipeline.background import registry
    from strongroom.pipeline.inspection.report import write_report

    with reporting(as_json):
        with following(as_json) as watcher:
            watcher.stage("report")
            path, _checks = write_report(registry.recall(state, run), run, to, state)
        if as_json:
            print_json({"run": run, "report": str(path)})
        else:
            out.say(str(path))
