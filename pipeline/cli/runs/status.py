"""``strongroom status``."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from strongroom.errors import StrongroomError
from strongroom.pipeline.cli.console import out, print_json, reporting
from strongroom.pipeline.cli.options import STATE, Json, State


def status(
    run: Annotated[str, typer.Argument(help="The run's id; default: all.")] = "",
    steps: Annotated[
        bool, typer.Option("--steps", help="Every number that the run's steps reported instead.")
    ] = False,
    state: State = STATE,
    as_json: Json = False,
) -> None:
    """Where runs stand, from the audit log and from what runs on this machine."""
    from strongroom.pipeline.background import registry, submit
    from strongroom.pipeline.inspection.status import run_steps

    if steps and not run:
        raise typer.BadParameter("--steps needs a run's id")
    with reporting(as_json):
        if steps:
            _show_steps(run_steps(registry.recall(state, run), run), as_json)
            return
        runs = [run] if run else registry.known_runs(state)
        rows = []
        for each in runs:
            try:
                rows.append(submit.standing(state, each))
            except StrongroomError as error:
                if run:
                    raise
                rows.append({"run": each, "state": error.code})
        if as_json:
            print_json(rows)
            return
        for row in rows:
            out.print(f"{row['run']:<40} {row['state']:<11} {progress(row)}")


def _show_steps(steps: list[dict[str, float]], as_json: bool) -> None:
    """Every number of every step."""
    if as_json:
        print_json(steps)
        return
    for values in steps:
        out.print("  ".join(f"{name} {value:g}" for name, value in values.items()))


def progress(row: dict[str, Any]) -> str:
    """How far a run is, in words."""
    words = [f"step {row['step']} of {row['steps']}"] if "step" in row else []
    if row.get("reward_mean") is not None:
        words.append(f"reward {row['reward_mean']:.2f}")
    if row["state"] == "running" and row.get("seconds_left") is not None:
        words.append(f"about {row['seconds_left'] / 60:.0f} min of training left")
    words += [f"alarm {name}" for name in row.get("alarms", ())]
    if row.get("code"):
        words.append(f"{row['code']} {row['reason']}")
    return " · ".join(words)
