"""``strongroom stack …``: the embedded stack."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from strongroom.pipeline.cli.console import Styled, out, print_json
from strongroom.pipeline.cli.options import STATE, Json, State
from strongroom.pipeline.cli.reporting import reporting
from strongroom.pipeline.cli.watching import following


def up(
    with_model: Annotated[
        bool, typer.Option("--with-model", help="Put the examples' base model into its bucket.")
    ] = False,
    state: State = STATE,
    as_json: Json = False,
) -> None:
    """Start what does not run: S3 server, key service, releaser."""
    from strongroom.pipeline.embedded import stack

    with reporting(as_json):
        with following(as_json) as watcher:
            watcher.stage("stack")
            found = stack.up(state)
            if with_model:
                from strongroom.examples.base_model import base_model

                watcher.stage("model")
                folder = base_model()
                watcher.stage("upload")
                stack.upload_model(found, folder)
        _show_stack(state, as_json)


def show(state: State = STATE, as_json: Json = False) -> None:
    """Show what a run file or a Terraform configuration needs to know of the stack."""
    from strongroom.pipeline.embedded.places import Places

    with reporting(as_json):
        found = Places.load(state).references()
        if as_json:
            print_json(found)
        else:
            for name, value in found.items():
                out.say(f"{name:<14} {value}")


def status(state: State = STATE, as_json: Json = False) -> None:
    """Show what runs and where."""
    with reporting(as_json):
        _show_stack(state, as_json)


def down(state: State = STATE, as_json: Json = False) -> None:
    """Stop everything; data and secrets stay in the state folder."""
    from strongroom.pipeline.embedded import stack

    with reporting(as_json):
        stack.down(state)
        _show_stack(state, as_json)


def _show_stack(state: Path, as_json: bool) -> None:
    from strongroom.pipeline.embedded import stack

    rows = stack.status(state)
    if as_json:
        print_json([{"name": r.name, "running": r.running, "endpoint": r.endpoint} for r in rows])
        return
    for row in rows:
        mark = Styled("runs   ", "green") if row.running else Styled("stopped", "dim")
        out.say(f"{row.name:<10} ", mark, f"  {row.endpoint}")
