"""``strongroom report``: the same checks as ``verify``, as one HTML file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from strongroom.audit.log.verify import Check
from strongroom.audit.report.gather import from_log
from strongroom.audit.report.html import picture, render
from strongroom.connectors.host.folders import private_folder
from strongroom.pipeline.broker.reading import ReadAccess
from strongroom.pipeline.inspection.status import log_vkey
from strongroom.pipeline.inspection.verify import Verification
from strongroom.pipeline.runfile.spec import RunSpec


def write_report(
    spec: RunSpec, run: str, to: Path | None, state: Path, vkey: str = ""
) -> tuple[Path, list[Check]]:
    """Verify a run and write its report; returns the file and the checks.

    In the state folder its curves lie beside it, as one picture.
    """
    verification = Verification(ReadAccess(spec, run), run, vkey or log_vkey(spec))
    checks = verification.verify()
    plan: dict[str, Any] = {}
    if verification.plan is not None:
        plan = verification.plan.to_dict()
        plan["spec"] = plan["spec"]["spec"]
        plan["digest"] = verification.plan.digest
    data = from_log(verification.entries, run, checks, plan, log=verification.log)
    target = to or private_folder(state / "reports") / f"{run}.html"
    target.write_text(render(data), encoding="utf-8")
    if to is None:
        target.with_suffix(".svg").write_text(picture(data), encoding="utf-8")
    return target, checks
