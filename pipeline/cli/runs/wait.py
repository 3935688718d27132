"""``strongroom wait``."""

from __future__ import annotations

from typing import Annotated

import msgspec
import typer

from strongroom.pipeline.cli.console import out, print_json
from strongroom.pipeline.cli.options import STATE, Json, RunId, State
from strongroom.pipeline.cli.reporting import reporting


def wait(
    run: RunId,
    timeout_s: Annotated[
        float | None,
        typer.Option("--timeout", min=0, help="Seconds to wait at most; default: no limit."),
    ] = None,
    state: State = STATE,
    as_json: Json = False,
) -> None:
    """Wait until a run has ended, and exit as it did."""
    from strongroom.pipeline.background import submit

    with reporting(as_json):
        row = submit.wait(state, run, timeout_s)
        print_json(msgspec.to_builtins(row)) if as_json else out.say(f"{run}: {row.state}")
