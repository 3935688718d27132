"""``strongroom plan``."""

from __future__ import annotations

from typing import Annotated

import typer

from strongroom.pipeline.cli.console import out, print_json
from strongroom.pipeline.cli.options import STATE, Json, Params, RunFile, State
from strongroom.pipeline.cli.reporting import reporting
from strongroom.pipeline.cli.run_file import read_run_file
from strongroom.pipeline.cli.watching import following


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
    from strongroom.pipeline.cli.runs.plan_view import print_plan
    from strongroom.pipeline.planning.intent import intent, new_run_id, stable_run_id
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
