"""What several commands share: their options, and how they read a run file and show progress."""

from __future__ import annotations

import os
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from strongroom.pipeline.cli.console import err, out
from strongroom.pipeline.run.watcher import Silent, Watcher

if TYPE_CHECKING:
    from strongroom.pipeline.owner.owner_file import Owner
    from strongroom.pipeline.runfile.load import LoadedRun

Json = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]
State = Annotated[
    Path,
    typer.Option(
        "--state",
        envvar="STRONGROOM_STATE",
        help="Folder of the embedded stack.",
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
STATE = Path("~/.strongroom").expanduser()


def read_run_file(run_file: Path, params: list[str] | None, state: Path) -> LoadedRun:
    """A run file with its variables: environment, --param, and those of an embedded stack."""
    from strongroom.connectors.stack.errors import StackNotFound
    from strongroom.pipeline.embedded import stack
    from strongroom.pipeline.runfile.load import load

    try:
        variables = stack.load(state).variables()
    except StackNotFound:
        variables = {}
    given = dict(item.partition("=")[::2] for item in params or [])
    return load(run_file, env=os.environ, params=given, stack=variables)


def watching(as_json: bool, steps: int, console: Console = out) -> AbstractContextManager[Watcher]:
    """Bars on a terminal, nothing for ``--json``."""
    from strongroom.pipeline.cli.progress import Terminal

    return nullcontext(Silent()) if as_json else Terminal(console, steps)


def following(as_json: bool) -> AbstractContextManager[Watcher]:
    """The same for commands whose output is their result: beside it, and on a terminal only."""
    return watching(as_json, 0, err) if err.is_terminal else watching(True, 0)


def data_owner(file: Path | None, state: Path) -> Owner:
    """Who an owner file says; without one, the embedded stack's owner."""
    from strongroom.pipeline.embedded import stack
    from strongroom.pipeline.owner.owner_file import Owner, OwnerFile

    return stack.load(state).owner() if file is None else Owner(OwnerFile.load(file))


def dataset_name(key: str) -> str:
    """``datasets/feedback/train/`` is called ``feedback.train``."""
    parts = [part for part in key.split("/") if part and part != "datasets"]
    return ".".join(parts).lower()
