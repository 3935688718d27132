"""The options that several commands have."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Json = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]
State = Annotated[
    Path,
    typer.Option(
        "--state",
        envvar="STRONGROOM_STATE",
        help="Folder of the embedded stack.",
        show_default="~/.strongroom",
        callback=lambda folder: folder.expanduser().absolute(),  # `~`, where no shell replaced it
    ),
]
RunFile = Annotated[Path, typer.Argument(help="The run file (YAML).")]
RunId = Annotated[str, typer.Argument(help="The run's id.")]
Params = Annotated[
    list[str] | None, typer.Option("--param", help="name=value for ${params.name} in the run file.")
]
OwnerPath = Annotated[
    Path | None,
    typer.Option(
        "--owner",
        envvar="STRONGROOM_OWNER",
        help="Owner file (YAML) of a bucket of your own; default: the embedded stack's owner.",
    ),
]
Vkey = Annotated[
    str | None,
    typer.Option(
        "--vkey",
        help="The log's verifier key, or a file that holds it; default: ask the run's releaser.",
    ),
]
STATE = Path("~/.strongroom").expanduser()
