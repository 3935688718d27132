"""The picture: how training went, as one SVG that stands alone."""

from __future__ import annotations

from strongroom.audit.events.alarms import ALARMS
from strongroom.audit.report.model import ReportData
from strongroom.audit.report.rendering import (
    held_out_title,
    series_chart,
    series_title,
    template,
)

CURVES = ("reward_mean", "zero_variance_share")
NOT_VERIFIED = "NOT VERIFIED: do not rely on these numbers"


def render(report: ReportData) -> str:
    """The held-out values, alarms and two curves."""
    lines = [] if report.intact else [NOT_VERIFIED]
    if report.held_out:
        first = report.held_out[0]
        values = " → ".join(f"{value:.2f}" for _, value in first.values)
        lines.append(f"{held_out_title(first).capitalize()}: {values}")
    for alarm in report.alarms:
        meaning = ALARMS[alarm.data.alarm].meaning
        lines.append(f"Alarm at step {alarm.data.step}: {meaning}")
    shown = [each for name in CURVES for each in report.curves if each.name == name]
    panels = [(series_title(each), series_chart(report, each)) for each in shown]
    return template("picture.svg.j2").render(lines=lines, panels=panels)
