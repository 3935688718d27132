"""The report for programs: its verdicts, each with the entries it rests on, as JSON.

The same log gives the same bytes. ``holds`` is null where something could not be told.
"""

from __future__ import annotations

import json

import msgspec

from strongroom.audit.report.controls.row import Control
from strongroom.audit.report.model import ReportData

VERSION = 1


def render(report: ReportData) -> str:
    """The report as one JSON document, whose form ``VERSION`` names."""
    verdict = "verified" if report.verified else "not complete" if report.intact else "not verified"
    document: dict[str, object] = {
        "strongroom_report": VERSION,
        "run": report.run,
        "verdict": verdict,
        "outcome": report.outcome,
        "error": report.error,
        "log": report.log,
        "period": {"began": report.began, "ended": report.ended},
        "plan": report.plan_digest,
        "adapter": report.adapter,
        "assurance": report.assurance,
        "checks": [
            {"name": group.name, "made": group.made, "failed": group.failed}
            for group in report.checks
        ],
        "controls": [_control(control) for control in report.controls],
        "held_out": [
            {"metric": each.metric, "records": each.records, "values": dict(each.values)}
            for each in report.held_out
        ],
        "memory": report.remembered,
        "capacity_bits": report.run_capacity_bits,
        "events": dict(report.events),
        "after_the_run": [
            {"entry": entry.index, "time": entry.time, "actor": entry.actor, "type": entry.type}
            for entry in report.afterwards
        ],
        "waivers": report.planned.waivers,
        "buckets": report.planned.buckets,
        "deletions": report.deletions,
    }
    text = json.dumps(msgspec.json.decode(msgspec.json.encode(document)), indent=2)  # in ASCII
    # Whoever puts the document into a page must not get markup from a name in it.
    return text.replace("<", "\\u003c").replace("\x7f", "\\u007f") + "\n"


def _control(control: Control) -> dict[str, object]:
    return {
        "id": control.id,
        "question": control.question,
        "supports": control.supports.split(" · "),
        "verdict": control.verdict,
        "findings": control.findings,
        "looked_at": dict(control.looked_at),
    }
