"""``strongroom validate``."""

from __future__ import annotations

from strongroom.pipeline.cli.console import out, print_json
from strongroom.pipeline.cli.options import STATE, Json, Params, RunFile, State
from strongroom.pipeline.cli.reporting import reporting
from strongroom.pipeline.cli.run_file import read_run_file


def validate(
    run_file: RunFile, params: Params = None, state: State = STATE, as_json: Json = False
) -> None:
    """Check a run file: every error at once, with its line and column."""
    with reporting(as_json):
        loaded = read_run_file(run_file, params, state)
        if as_json:
            print_json({"valid": True, "run_file": str(run_file)})
        else:
            out.say(f"{run_file}: valid ({loaded.spec.metadata.name})")
