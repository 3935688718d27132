"""``strongroom quickstart``."""

from __future__ import annotations

from typing import Annotated

import typer

from strongroom.pipeline.cli.options import STATE, Json, State
from strongroom.pipeline.cli.reporting import reporting


def quickstart(
    example: Annotated[
        str, typer.Option(help="Which of the examples; README.md has their list.")
    ] = "feedback",
    state: State = STATE,
    as_json: Json = False,
) -> None:
    """Do everything once: start the stack, seal real data, train on it, verify, report."""
    from strongroom.pipeline.cli.machine.main_job import run_quickstart

    with reporting(as_json):
        run_quickstart(state, example, as_json=as_json)
