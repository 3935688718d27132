"""``strongroom verify``."""

from __future__ import annotations

from typing import Annotated

import typer

from strongroom.errors import Exit
from strongroom.pipeline.cli.console import Styled, err, out, print_json
from strongroom.pipeline.cli.options import STATE, Json, RunId, State
from strongroom.pipeline.cli.reporting import reporting
from strongroom.pipeline.cli.watching import following


def verify(
    run: RunId,
    vkey: Annotated[str, typer.Option(help="The log's verifier key; default: ask the owner.")] = "",
    state: State = STATE,
    as_json: Json = False,
) -> None:
    """Check a run from its objects and the log alone.

    Exit 5 when anything is wrong, or could not be checked; 1 when nothing is but the run has not
    completed.
    """
    with reporting(as_json, failed=Exit.INTEGRITY):
        from strongroom.audit.log.verify import COMPLETE
        from strongroom.pipeline.background import registry
        from strongroom.pipeline.inspection import verify as inspection

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
                    err.say(Styled("✗", "red"), f" {check.name}  {check.object}  {check.detail}")
            good = sum(check.ok for check in checks)
            word = Styled("verified", "green") if ok else Styled("NOT VERIFIED", "red")
            if intact and not ok:
                word = Styled("intact, not complete", "yellow")
            out.say(word, f": {good} of {len(checks)} checks hold for {run}")
        if not ok:
            raise SystemExit(Exit.FAILED if intact else Exit.INTEGRITY)
