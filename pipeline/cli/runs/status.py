"""``strongroom status``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import msgspec
import typer

from strongroom.errors import StrongroomError
from strongroom.pipeline.cli.console import out, print_json
from strongroom.pipeline.cli.options import STATE, Json, State, Vkey
from strongroom.pipeline.cli.reporting import reporting

if TYPE_CHECKING:
    from strongroom.pipeline.background.submit import LocalStatus


class Unreadable(msgspec.Struct, frozen=True):
    """A run whose state cannot be found; its place is taken by the code of the error."""

    run: str
    state: str


def status(
    run: Annotated[str, typer.Argument(help="The run's id; default: all.")] = "",
    steps: Annotated[
        bool, typer.Option("--steps", help="Every number that the run's steps reported instead.")
    ] = False,
    vkey: Vkey = None,
    state: State = STATE,
    as_json: Json = False,
) -> None:
    """Where runs stand, from the audit log and from what runs on this machine."""
    from strongroom.pipeline.background import registry, submit
    from strongroom.pipeline.inspection.log import Logs
    from strongroom.pipeline.inspection.status import run_steps
    from strongroom.pipeline.inspection.trust import read_key

    if steps and not run:
        raise typer.BadParameter("--steps needs a run's id")
    with reporting(as_json):
        logs = Logs(state, read_key(vkey))
        if steps:
            _show_steps(run_steps(registry.recall(state, run), run, logs), as_json)
            return
        runs = [run] if run else registry.known_runs(state)
        rows: list[LocalStatus | Unreadable] = []
        for each in runs:
            try:
                rows.append(submit.run_status(state, each, logs))
            except StrongroomError as error:
                if run:
                    raise
                rows.append(Unreadable(each, error.code))
        if as_json:
            print_json(msgspec.to_builtins(rows))
            return
        for row in rows:
            out.say(f"{row.run:<40} {row.state:<11} {progress(row)}")


def _show_steps(steps: list[dict[str, float]], as_json: bool) -> None:
    """Every number of every step."""
    if as_json:
        print_json(steps)
        return
    for values in steps:
        out.say("  ".join(f"{name} {value:g}" for name, value in values.items()))


def progress(row: LocalStatus | Unreadable) -> str:
    """How far a run is, in words."""
    if isinstance(row, Unreadable):
        return ""
    words = [f"step {row.step} of {row.steps}"]
    if row.reward_mean is not None:
        words.append(f"reward {row.reward_mean:.2f}")
    if row.state == "running" and row.seconds_left is not None:
        words.append(f"about {row.seconds_left / 60:.0f} min of training left")
    words += [f"alarm {name}" for name in row.alarms]
    if row.code:
        words.append(f"{row.code} {row.reason}")
    return " · ".join(words)
