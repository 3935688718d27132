"""``strongroom export``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from strongroom.pipeline.cli.console import out, print_json
from strongroom.pipeline.cli.options import STATE, Json, RunId, State
from strongroom.pipeline.cli.reporting import reporting
from strongroom.pipeline.cli.watching import following


def export(
    run: RunId,
    to: Annotated[Path, typer.Option("--to", help="Folder to write; new or empty.")],
    step: Annotated[int, typer.Option(min=0, help="Step; default: the published one.")] = 0,
    merged: Annotated[bool, typer.Option("--merged", help="Write the whole merged model.")] = False,
    base: Annotated[
        str, typer.Option(help="What adapter_config.json calls the base model; default: its URI.")
    ] = "",
    state: State = STATE,
    as_json: Json = False,
) -> None:
    """Write a run's adapter in plain, for peft and vLLM; needs the output key, and is logged."""
    from strongroom.pipeline.background import registry
    from strongroom.pipeline.keyholder.export import Form
    from strongroom.pipeline.keyholder.export import export as write

    with reporting(as_json):
        spec = registry.recall(state, run)
        form: Form = "merged" if merged else "adapter"
        with following(as_json) as watcher:
            watcher.stage("export")
            made = write(spec, run, to, step=step, form=form, base=base)
        if as_json:
            print_json(
                {
                    "run": run,
                    "folder": str(made.folder),
                    "form": made.form,
                    "step": made.step,
                    "adapter_sha256": made.adapter,
                    "files": list(made.files),
                }
            )
        else:
            out.say(f"step {made.step}, adapter {made.adapter}")
            out.say(f"{made.form} in {made.folder}: {', '.join(made.files)}")
