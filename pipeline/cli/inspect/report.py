"""``strongroom report``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from strongroom.errors import Exit
from strongroom.pipeline.cli.console import Styled, err, out, print_json
from strongroom.pipeline.cli.inspect.reading import (
    Offline,
    RunFileOption,
    Since,
    Vkey,
    WhichRun,
    Witness,
    reading,
)
from strongroom.pipeline.cli.options import STATE, Json, State
from strongroom.pipeline.cli.reporting import reporting
from strongroom.pipeline.cli.watching import following


def report(
    run: WhichRun,
    to: Annotated[
        Path | None,
        typer.Option(help="File to write, .html, .json or .svg; default: all three, in the state."),
    ] = None,
    vkey: Vkey = None,
    since: Since = None,
    witness: Witness = None,
    offline: Offline = None,
    run_file: RunFileOption = None,
    state: State = STATE,
    as_json: Json = False,
) -> None:
    """Write the report of a run: one HTML file, checkable without trusting it.

    Exit 5 when it is not verified, 1 when nothing is wrong but the run has not completed.
    """
    with reporting(as_json, failed=Exit.INTEGRITY):
        from strongroom.pipeline.inspection.report import write_report

        with following(as_json) as watcher:
            watcher.stage("report")
            reader, run_id, trust = reading(
                run,
                state=state,
                vkey=vkey,
                since=since,
                witness=witness,
                offline=offline,
                run_file=run_file,
            )
            path, found = write_report(reader, run_id, to, state, trust)
        if as_json:
            verdicts = {control.id: control.verdict for control in found.controls}
            verified = {"verified": found.verified, "controls": verdicts}
            print_json({"run": run_id, "report": str(path)} | verified)
        else:
            out.say(str(path))
            for control in found.controls_failed:
                err.say(Styled("✗", "red"), f" {control.question}")
            if not found.intact:
                counts = f"{found.checks_failed} of {found.checks_made} checks failed"
                counts = counts if found.checks_made else "no check could be made"
                err.say(Styled("NOT VERIFIED", "red"), f": {counts}")
        if not found.verified:
            raise SystemExit(Exit.FAILED if found.intact else Exit.INTEGRITY)
