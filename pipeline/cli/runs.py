"""Commands that plan, start and follow runs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from strongroom.errors import StrongroomError
from strongroom.pipeline.cli.console import out, print_json, reporting
from strongroom.pipeline.cli.options import (
    STATE,
    Json,
    Params,
    RunFile,
    RunId,
    State,
    following,
    read_run_file,
    watching,
)

app = typer.Typer()


@app.command()
def validate(
    run_file: RunFile, params: Params = None, state: State = STATE, as_json: Json = False
) -> None:
    """Check a run file: every error at once, with its line and column."""
    with reporting(as_json):
        loaded = read_run_file(run_file, params, state)
        if as_json:
            print_json({"valid": True, "run_file": str(run_file)})
        else:
            out.print(f"{run_file}: valid ({loaded.spec.metadata.name})")


@app.command()
def plan(
    run_file: RunFile,
    params: Params = None,
    run_id: Annotated[str, typer.Option("--id", help="The run's id; default: a new one.")] = "",
    stable_id: Annotated[
        bool,
        typer.Option(
            "--stable-id", help="Derive the id from what is asked for: same file, same id."
        ),
    ] = False,
    state: State = STATE,
    as_json: Json = False,
) -> None:
    """Show exactly what a run would read, write, lease and hold, and what the policy says."""
    from strongroom.pipeline import controller
    from strongroom.pipeline.cli.plan_view import print_plan
    from strongroom.pipeline.planning.intent import intent, stable_run_id
    from strongroom.pipeline.run.admission import new_run_id
    from strongroom.policies.gate import denial_list

    with reporting(as_json):
        loaded = read_run_file(run_file, params, state)
        name = loaded.spec.metadata.name
        new_id = stable_run_id(loaded.spec) if stable_id else new_run_id(name)
        identity = run_id or new_id
        with following(as_json) as watcher:
            made, decision = controller.make_plan(loaded, identity, watcher)
        if as_json:
            print_json(
                {
                    "id": identity,
                    "intent": intent(loaded.spec),
                    "plan": made.to_dict(),
                    "digest": made.digest,
                    "admitted": decision.allowed,
                    "denials": [
                        {
                            "rule": denial.rule,
                            "place": loaded.position(denial.path),
                            "expected": denial.expected,
                            "actual": denial.actual,
                            "fix": denial.fix,
                        }
                        for denial in decision.denials
                    ],
                }
            )
            if not decision.allowed:
                raise SystemExit(3)
        else:
            print_plan(out, made, decision)
            if not decision.allowed:
                raise denial_list(decision, loaded.position)


@app.command()
def run(
    run_file: RunFile,
    params: Params = None,
    run_id: Annotated[str, typer.Option("--id", help="The run's id; default: a new one.")] = "",
    go_on: Annotated[
        bool, typer.Option("--resume", help="Go on with the run of this id where there is one.")
    ] = False,
    detach: Annotated[
        bool, typer.Option("--detach", help="Leave the run to a supervisor on this machine.")
    ] = False,
    planned: Annotated[
        str,
        typer.Option("--intent", help="Refuse a file that asks for anything but what `plan` saw."),
    ] = "",
    state: State = STATE,
    as_json: Json = False,
) -> None:
    """Run a run file to its end, here or detached."""
    from strongroom.pipeline import controller
    from strongroom.pipeline.background import registry
    from strongroom.pipeline.background import run_locks as drivers
    from strongroom.pipeline.planning.errors import IntentChanged, RunExists
    from strongroom.pipeline.planning.intent import intent
    from strongroom.pipeline.run.admission import new_run_id

    with reporting(as_json):
        loaded = read_run_file(run_file, params, state)
        if planned and planned != (found := intent(loaded.spec)):
            raise IntentChanged(place=str(run_file), expected=planned, actual=found)
        identity = run_id or new_run_id(loaded.spec.metadata.name)
        if detach:
            _submit(loaded, identity, state, as_json)
            return
        if not as_json:
            out.print(f"run [bold]{identity}[/]")
        start = controller.run_or_resume if go_on else controller.run
        with drivers.driving(state, identity):
            before = registry.remember(state, identity, loaded.spec, run_file)
            try:
                with watching(as_json, loaded.spec.spec.training.steps) as watcher:
                    outcome = start(loaded, identity, watcher)
            except RunExists:
                registry.put_back(state, identity, before)
                raise
        show_outcome(outcome, as_json)


@app.command()
def resume(run: RunId, state: State = STATE, as_json: Json = False) -> None:
    """Continue a run that was interrupted, from its last checkpoint."""
    from strongroom.pipeline import controller
    from strongroom.pipeline.background import registry
    from strongroom.pipeline.background import run_locks as drivers

    with reporting(as_json):
        spec = registry.recall(state, run)
        with (
            drivers.driving(state, run),
            watching(as_json, spec.spec.training.steps) as watcher,
        ):
            outcome = controller.resume(spec, run, watcher)
        show_outcome(outcome, as_json)


@app.command()
def wait(
    run: RunId,
    timeout_s: Annotated[
        float | None,
        typer.Option("--timeout", min=0, help="Seconds to wait at most; default: no limit."),
    ] = None,
    state: State = STATE,
    as_json: Json = False,
) -> None:
    """Wait until a run has ended, and exit as it did."""
    from strongroom.pipeline.background import submit as detached

    with reporting(as_json):
        row = detached.wait(state, run, timeout_s)
        print_json(row) if as_json else out.print(f"{run}: {row['state']}")


@app.command()
def cancel(run: RunId, state: State = STATE, as_json: Json = False) -> None:
    """End a run that is driven from here; what it wrote stays."""
    from strongroom.pipeline.background import submit as detached

    with reporting(as_json):
        detached.cancel(state, run)
        if as_json:
            print_json({"run": run, "state": "cancelled"})
        else:
            out.print(f"{run}: cancelled; `strongroom resume {run}` goes on with it")


@app.command()
def replay(run: RunId, state: State = STATE, as_json: Json = False) -> None:
    """Do a finished run again from its plan, and prove that it comes out the same."""
    from strongroom.pipeline import controller
    from strongroom.pipeline.background import registry

    with reporting(as_json):
        spec = registry.recall(state, run)
        with watching(as_json, spec.spec.training.steps) as watcher:
            outcome = controller.replay(spec, run, watcher)
        if not as_json:
            out.print("[green]the same[/], byte for byte: every checkpoint and the result")
        show_outcome(outcome, as_json)


@app.command()
def status(
    run: Annotated[str, typer.Argument(help="The run's id; default: all.")] = "",
    steps: Annotated[
        bool, typer.Option("--steps", help="Every number that the run's steps reported instead.")
    ] = False,
    state: State = STATE,
    as_json: Json = False,
) -> None:
    """Where runs stand, from the audit log and from what runs on this machine."""
    from strongroom.pipeline.background import registry
    from strongroom.pipeline.background import submit as detached
    from strongroom.pipeline.inspection import status as inspection

    if steps and not run:
        raise typer.BadParameter("--steps needs a run's id")
    with reporting(as_json):
        if steps:
            show_steps(inspection.run_steps(registry.recall(state, run), run), as_json)
            return
        runs = [run] if run else registry.known_runs(state)
        rows = []
        for each in runs:
            try:
                rows.append(detached.standing(state, each))
            except StrongroomError as error:
                if run:
                    raise
                rows.append({"run": each, "state": error.code})
        if as_json:
            print_json(rows)
            return
        for row in rows:
            out.print(f"{row['run']:<40} {row['state']:<11} {standing(row)}")


def _submit(loaded: Any, run: str, state: Path, as_json: bool) -> None:
    from strongroom.pipeline.background import submit as detached

    found = detached.submit(state, loaded, run)
    if as_json:
        print_json({"run": run, "state": found})
    else:
        out.print(f"run [bold]{run}[/]: {found}\nfollow it with `strongroom wait {run}`")


def show_steps(steps: list[dict[str, float]], as_json: bool) -> None:
    """Every number of every step."""
    if as_json:
        print_json(steps)
        return
    for values in steps:
        out.print("  ".join(f"{name} {value:g}" for name, value in values.items()))


def show_outcome(outcome: Any, as_json: bool) -> None:
    """How a run ended."""
    if as_json:
        print_json(
            {
                "run": outcome.run,
                "step": outcome.step,
                "trained_steps": outcome.trained_steps,
                "ended": outcome.ended,
                "alarms": outcome.alarms,
                "adapter_sha256": outcome.adapter,
                "evaluation": outcome.evaluations,
                "outputs": outcome.folder,
            }
        )
        return
    for phase, values in outcome.evaluations.items():
        numbers = "  ".join(f"{name} {value:g}" for name, value in sorted(values.items()))
        out.print(f"{phase:<7} {numbers}")
    if outcome.ended != "steps" or outcome.step != outcome.trained_steps:
        out.print(
            f"ended after step {outcome.trained_steps} ({outcome.ended}); the result is the "
            f"checkpoint of step {outcome.step}"
        )
    out.print(f"adapter {outcome.adapter}\noutputs {outcome.folder}")


def standing(row: dict[str, Any]) -> str:
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
