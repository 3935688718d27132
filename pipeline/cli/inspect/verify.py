"""``strongroom verify``."""

from __future__ import annotations

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


def verify(
    run: WhichRun,
    vkey: Vkey = None,
    since: Since = None,
    witness: Witness = None,
    offline: Offline = None,
    run_file: RunFileOption = None,
    state: State = STATE,
    as_json: Json = False,
) -> None:
    """Check a run from its objects and the log alone.

    Exit 5 when anything is wrong, or could not be checked; 1 when nothing is but the run has not
    completed.
    """
    with reporting(as_json, failed=Exit.INTEGRITY):
        from strongroom.audit.log.verify import COMPLETE
        from strongroom.pipeline.inspection import verify as inspection

        with following(as_json) as watcher:
            watcher.stage("verify_run")
            reader, run_id, trust = reading(
                run,
                state=state,
                vkey=vkey,
                since=since,
                witness=witness,
                offline=offline,
                run_file=run_file,
            )
            found = inspection.verify(reader, run_id, trust)
        checks = found.checks
        ok = all(check.ok for check in checks)
        intact = all(check.ok or check.name == COMPLETE for check in checks)
        if as_json:
            print_json(
                {
                    "run": run_id,
                    "verified": ok,
                    "vkey": trust.vkey,
                    "key_from": "the caller" if vkey is not None else "the releaser",
                    "checks": [
                        {
                            "name": check.name,
                            "ok": check.ok,
                            "object": check.object,
                            "detail": check.detail,
                            "noted": check.noted,
                        }
                        for check in checks
                    ],
                }
            )
        else:
            for check in checks:
                if check.noted:
                    err.say(Styled("•", "yellow"), f" {check.name}  {check.object}  {check.detail}")
                if not check.ok:
                    err.say(Styled("✗", "red"), f" {check.name}  {check.object}  {check.detail}")
            good = sum(check.ok for check in checks)
            word = Styled("verified", "green") if ok else Styled("NOT VERIFIED", "red")
            if intact and not ok:
                word = Styled("intact, not complete", "yellow")
            out.say(word, f": {good} of {len(checks)} checks hold for {run_id}")
            if vkey is None:
                out.say(f"held to the key that the releaser gave: {trust.vkey}")
        if not ok:
            raise SystemExit(Exit.FAILED if intact else Exit.INTEGRITY)
