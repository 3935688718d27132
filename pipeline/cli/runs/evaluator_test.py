"""``strongroom evaluator test``."""

from __future__ import annotations

from typing import Annotated

import typer

from strongroom.pipeline.cli.console import out, print_json
from strongroom.pipeline.cli.options import STATE, Json, Params, RunFile, State
from strongroom.pipeline.cli.reporting import reporting
from strongroom.pipeline.cli.run_file import read_run_file
from strongroom.pipeline.cli.runs.trial_view import document, show
from strongroom.pipeline.cli.watching import watching


def try_out(
    run_file: RunFile,
    rows: Annotated[int, typer.Option(min=1, help="Rows of the training data.")] = 16,
    samples: Annotated[
        int, typer.Option(min=0, help="Completions of each row; default: as in training.")
    ] = 0,
    params: Params = None,
    state: State = STATE,
    as_json: Json = False,
) -> None:
    """Score completions of the base model on sealed rows, in an enclave; writes no output."""
    from strongroom.pipeline.trial import try_evaluator

    with reporting(as_json):
        loaded = read_run_file(run_file, params, state)
        wanted = samples or loaded.spec.spec.training.samples_per_prompt
        with watching(as_json, 0) as watcher:
            tested = try_evaluator(loaded, rows, wanted, watcher)
        if as_json:
            print_json(document(tested))
        else:
            show(tested, out)
        if tested.failures or tested.untried:
            raise SystemExit(1)
