"""``strongroom report``: the same checks as ``verify``, with what the log says, as a page."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from pathlib import Path

from pydantic import ValidationError

from strongroom.audit.log.verify import Check
from strongroom.audit.report.formats import FORMATS
from strongroom.audit.report.gather import from_log
from strongroom.audit.report.model import ReportData
from strongroom.audit.report.planned import Planned
from strongroom.connectors.host.folders import private_folder
from strongroom.pipeline.broker.reading import RunReader
from strongroom.pipeline.inspection.planned import judged, planned_in
from strongroom.pipeline.inspection.trust import Trust
from strongroom.pipeline.inspection.verify import Verification, verify

PAGE = ".html"
WRITTEN_OVER = ("Audit log: written over", "Audit log: rolled back")
"""Names of checks that note what somebody did to objects of the log."""


def write_report(
    reader: RunReader, run: str, to: Path | None, state: Path, trust: Trust
) -> tuple[Path, ReportData]:
    """Verify a run and write its report; returns the file, as ``save`` does, and what it says."""
    data = report_on(verify(reader, run, trust), run)
    return save(data, to, state), data


def report_on(found: Verification, run: str) -> ReportData:
    """What a verification found, as the report says it."""
    planned = Planned()
    if found.plan is not None:
        # A plan of another version is no plan that anything could be held against.
        with contextlib.suppress(LookupError, TypeError, ValidationError):
            planned = planned_in(found.plan, found.manifests)
    return from_log(
        found.events,
        run,
        found.checks,
        planned,
        log=found.log,
        walls=judged,
        deletions=_deleted(found.checks),
    )


def _deleted(checks: Iterable[Check]) -> tuple[str, ...] | None:
    """What is noted of objects of the log that were deleted or written over. None where nothing is:
    a copy of a log has no versions, and nobody can say of it that there were none."""
    found = (
        check.object
        for check in checks
        if check.noted and (check.name in WRITTEN_OVER or check.detail == "a delete marker")
    )
    return tuple(found) or None


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
