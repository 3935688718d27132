"""Commands that look at a run afterwards: verification, report, rollouts, reasons."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from strongroom.pipeline.cli.console import err, out, print_json, reporting
from strongroom.pipeline.cli.options import (
    STATE,
    Json,
    Params,
    RunFile,
    RunId,
    State,
    following,
    read_run_file,
)

app = typer.Typer()
explain_app = typer.Typer(no_args_is_help=True, help="Why: access that a run gets, denials.")
app.add_typer(explain_app, name="explain")


@app.command()
def verify(
    run: RunId,
    vkey: Annotated[str, typer.Option(help="The log's verifier key; default: ask the owner.")] = "",
    state: State = STATE,
    as_json: Json = False,
) -> None:
    """Check a run from its objects and the log alone.

    Exit 5 when anything is wrong, 1 when nothing is but the run has not completed.
    """
    from strongroom.audit.log.verify import COMPLETE
    from strongroom.pipeline.background import registry
    from strongroom.pipeline.inspection import status as inspection

    with reporting(as_json):
        with following(as_json) as watcher:
            watcher.stage("verify_run")
            checks = inspection.verify_run(registry.recall(state, run), run, vkey)
        ok = all(check.ok for check in checks)
        intact = all(check.ok or check.name == COMPLETE for check in checks)
        if as_json:
            rows = [
                {"name": c.name, "ok": c.ok, "object": c.object, "detail": c.detail} for c in checks
            ]
            print_json({"run": run, "verified": ok, "checks": rows})
        else:
            for check in checks:
                if not check.ok:
                    err.print(f"[red]✗[/] {check.name}  {check.object}  {check.detail}")
            good = sum(check.ok for check in checks)
            word = "[green]verified[/]" if ok else "[red]NOT VERIFIED[/]"
            if intact and not ok:
                word = "[yellow]intact, not complete[/]"
            out.print(f"{word}: {good} of {len(checks)} checks hold for {run}")
        if not ok:
            raise SystemExit(1 if intact else 5)


@app.command()
def report(
    run: RunId,
    to: Annotated[Path | None, typer.Option(help="File to write; default: in the state.")] = None,
    state: State = STATE,
    as_json: Json = False,
) -> None:
    """Write the report of a run: one HTML file, checkable without trusting it."""
    from strongroom.pipeline.background import registry
    from strongroom.pipeline.inspection import report

    with reporting(as_json):
        with following(as_json) as watcher:
            watcher.stage("report")
            path, _checks = report.write_report(registry.recall(state, run), run, to, state)
        if as_json:
            print_json({"run": run, "report": str(path)})
        else:
            out.print(str(path))


@app.command()
def rollouts(
    run: RunId,
    step: Annotated[int, typer.Option(help="Step of the checkpoint; default: the last.")] = 0,
    state: State = STATE,
) -> None:
    """Show a run's sample rollouts; needs the output key, opens them without network."""
    from strongroom.pipeline.background import registry
    from strongroom.pipeline.inspection import status as inspection
    from strongroom.pipeline.keyholder import rollouts as viewing

    with reporting(False):
        spec = registry.recall(state, run)
        wanted = step or inspection.last_checkpoint(spec, run)
        viewing.show_rollouts(spec, run, wanted, sys.stdout.fileno())


@explain_app.command("access")
def explain_access(
    run_file: RunFile, params: Params = None, state: State = STATE, as_json: Json = False
) -> None:
    """Print the session policy document of each lease that a run would take."""
    from strongroom.pipeline.cli.plan_view import lease_policies
    from strongroom.pipeline.planning.leases import plan_leases
    from strongroom.pipeline.planning.objects import RunLayout

    with reporting(as_json):
        loaded = read_run_file(run_file, params, state)
        run = loaded.spec.spec
        leases = plan_leases(run, RunLayout(run.outputs, "RUN"))
        documents = lease_policies(leases)
        if as_json:
            print_json(documents)
        else:
            for document in documents:
                out.print_json(data=document)


@explain_app.command("denial")
def explain_denial(run: RunId, state: State = STATE, as_json: Json = False) -> None:
    """Print which rules or checks refused a run, from the audit log."""
    from strongroom.pipeline.background import registry
    from strongroom.pipeline.inspection import status as inspection

    with reporting(as_json):
        found = inspection.denials(registry.recall(state, run), run)
        if as_json:
            print_json(found)
            return
        for denial in found:
            out.print(f"{denial['time']}  {denial['event']:<12} {denial['reason']}")
        if not found:
            out.print(f"nothing in the log denied {run}")
