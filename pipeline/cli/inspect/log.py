"""``strongroom log …``: the log's key, its newest checkpoint, its entries, and a copy of a run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from strongroom.pipeline.cli.console import octets, out, print_json
from strongroom.pipeline.cli.inspect.reading import Offline, RunFileOption, Vkey, WhichRun, reading
from strongroom.pipeline.cli.options import STATE, Json, State
from strongroom.pipeline.cli.reporting import reporting
from strongroom.pipeline.cli.watching import following

if TYPE_CHECKING:
    from strongroom.audit.log.verify import LogView


def key(run: WhichRun, state: State = STATE, as_json: Json = False) -> None:
    """Print the verifier key of a run's log, as its releaser tells it.

    Whoever verifies gets it from the key's owner instead, once, and keeps it.
    """
    from strongroom.pipeline.background import registry
    from strongroom.pipeline.inspection import which
    from strongroom.pipeline.inspection.log import Logs

    with reporting(as_json):
        spec, _ = which.spec_of(run, lambda run_id: registry.recall(state, run_id))
        vkey = Logs(state).key(spec)
        if as_json:
            print_json({"vkey": vkey, "key_from": "the releaser"})
        else:
            out.say(vkey)


def checkpoint(
    run: WhichRun,
    vkey: Vkey = None,
    offline: Offline = None,
    run_file: RunFileOption = None,
    state: State = STATE,
    as_json: Json = False,
) -> None:
    """Print the log's newest checkpoint, for `verify --since` or a witness."""
    with reporting(as_json):
        view, _ = _view(run, vkey, offline, run_file, state)
        if as_json:
            print_json({"size": view.size, "checkpoint": view.note.decode()})
        else:
            octets(view.note)


def entries(
    run: WhichRun,
    every: Annotated[bool, typer.Option("--all", help="Those of all runs.")] = False,
    vkey: Vkey = None,
    offline: Offline = None,
    run_file: RunFileOption = None,
    state: State = STATE,
    as_json: Json = False,
) -> None:
    """Print a run's entries of the verified log, each with its place.

    An entry is the OCSF object as it was logged."""
    with reporting(as_json):
        view, run_id = _view(run, vkey, offline, run_file, state)
        found = list(enumerate(view.entries)) if every else view.of_run(run_id)
        if as_json:
            rows = [{"place": place, "entry": json.loads(entry)} for place, entry in found]
            print_json(rows)
            return
        for place, entry in found:
            octets(f"{place} ".encode() + entry + b"\n")


def copy(
    run: WhichRun,
    folder: Annotated[Path, typer.Argument(help="A new folder for the copy.")],
    vkey: Vkey = None,
    run_file: RunFileOption = None,
    state: State = STATE,
    as_json: Json = False,
) -> None:
    """Copy a run, its inputs and its log into a folder, for `verify --offline`."""
    from strongroom.pipeline.inspection.copying import copy_run

    with reporting(as_json):
        with following(as_json):
            reader, run_id, trust = reading(
                run,
                state=state,
                vkey=vkey,
                since=None,
                witness=None,
                offline=None,
                run_file=run_file,
            )
            count = copy_run(reader, trust, folder)
        if as_json:
            print_json({"run": run_id, "folder": str(folder), "objects": count})
        else:
            out.say(f"{count} objects of {run_id} and its log are in {folder}")


def _view(
    run: str, vkey: str | None, offline: Path | None, run_file: Path | None, state: Path
) -> tuple[LogView, str]:
    from strongroom.audit.log.verify import read_log
    from strongroom.pipeline.broker.log import log_origin

    reader, run_id, trust = reading(
        run, state=state, vkey=vkey, since=None, witness=None, offline=offline, run_file=run_file
    )
    origin = log_origin(reader.audit)
    return read_log(reader.log(), trust.vkey, origin, trust.copy), run_id
