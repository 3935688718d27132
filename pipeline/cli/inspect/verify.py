"""``strongroom verify``."""

from __future__ import annotations

from typing import Annotated

import typer

from strongroom.pipeline.cli.console import err, out, print_json, reporting
from strongroom.pipeline.cli.options import STATE, Json, RunId, State
from strongroom.pipeline.cli.watching import following


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
    from strongroom.pipeline.inspection import verify as inspection

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
