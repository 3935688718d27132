"""``strongroom report``: the same checks as ``verify``, with what the log says, as a page."""

from __future__ import annotations

from pathlib import Path

import msgspec

from strongroom.audit.log.verify import Check
from strongroom.audit.report.formats import FORMATS
from strongroom.audit.report.gather import from_log
from strongroom.audit.report.model import Planned, ReportData, Waiver
from strongroom.audit.report.remembered import Planted
from strongroom.connectors.host.folders import private_folder
from strongroom.pipeline.broker.reading import ReadAccess
from strongroom.pipeline.inspection.log import log_vkey
from strongroom.pipeline.inspection.verify import verify
from strongroom.pipeline.planning.plan import Plan
from strongroom.pipeline.runfile import spec as runfile
from strongroom.pipeline.runfile.spec import RunSpec
from strongroom.trainer.config import TrainingConfig

PAGE = ".html"


def write_report(
    spec: RunSpec, run: str, to: Path | None, state: Path, vkey: str = ""
) -> tuple[Path, tuple[Check, ...]]:
    """Verify a run and write its report; returns the file, as ``save`` does, and the checks."""
    found = verify(ReadAccess(spec, run), run, vkey or log_vkey(spec))
    planned = Planned() if found.plan is None else planned_in(found.plan)
    data = from_log(found.events, run, found.checks, planned, log=found.log)
    return save(data, to, state), found.checks


def save(report: ReportData, to: Path | None, state: Path) -> Path:
    """Write a report to ``to``, in the format of its ending: the page where it is another one.

    Without ``to``, write every format into the state folder; returns the page.
    """
    if to is not None:
        render = FORMATS.get(to.suffix, FORMATS[PAGE])
        to.write_text(render(report), encoding="utf-8")
        return to
    folder = private_folder(state / "reports")
    for ending, render in FORMATS.items():
        (folder / f"{report.run}{ending}").write_text(render(report), encoding="utf-8")
    return folder / f"{report.run}{PAGE}"


def planned_in(plan: Plan) -> Planned:
    """What a report takes from a plan."""
    run = plan.spec["spec"]
    training = TrainingConfig.model_validate(run["training"])
    planted = None
    if (secrets := training.memorisation) is not None:
        planted = Planted(secrets.canaries, secrets.repetitions, secrets.words)
    waivers = (runfile.Waiver.model_validate(each) for each in run["policy"]["waivers"])
    return Planned(
        digest=plan.digest,
        outputs=plan.outputs,
        model_uri=plan.model.uri,
        keys=tuple(sorted(msgspec.structs.asdict(plan.keys).items())),
        method=training.method.type,
        metrics=plan.evaluator.metrics,
        planted=planted,
        capacity_bits=plan.capacity_bits,
        waivers=tuple(Waiver(w.rule, w.owner, w.reason, w.expires) for w in waivers),
    )
