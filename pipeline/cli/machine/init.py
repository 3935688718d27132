"""``strongroom init``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from strongroom.pipeline.cli.console import out, print_json
from strongroom.pipeline.cli.options import Json
from strongroom.pipeline.cli.reporting import reporting


def init(
    folder: Annotated[Path, typer.Argument(help="Folder for run.yaml and evaluator.py.")],
    as_json: Json = False,
) -> None:
    """Write a first run file and evaluator to start from."""
    from strongroom.pipeline.embedded.scaffold import write_first_run

    with reporting(as_json):
        written = write_first_run(folder)
        if as_json:
            print_json([str(path) for path in written])
        else:
            for path in written:
                out.say(str(path))
