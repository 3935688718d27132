"""The page: the whole report as one HTML file that needs nothing else and runs nothing.

No script, no external resource (its own content policy forbids them), charts as inline SVG. Every
value is escaped; none is trusted, since an evaluator chooses metric names and an operator chooses
object names.
"""

from __future__ import annotations

from markupsafe import Markup

from strongroom.audit.events.alarms import ALARMS
from strongroom.audit.report.charts import bars, spans
from strongroom.audit.report.model import ReportData
from strongroom.audit.report.remembered import CHANCE_BITS
from strongroom.audit.report.rendering import (
    held_out_title,
    series_chart,
    series_title,
    template,
)

ASSURANCE = {
    "": "not shown: no enclave of this run is in the log",
    "A0": "A0: no isolation, for debugging; whoever runs the machine can read the plaintext",
    "A1": "A1: software isolation on one machine; trusts its root and operator; no hardware",
    "A2": "A2: attested confidential CPU",
    "A3": "A3: attested confidential CPU and GPU",
}

CHECK_NAMES = {
    "checkpoint": "The log’s entries hash to the signed root",
    "batch": "Batches of entries as they were appended",
    "tile": "Entry bundles and hash tiles, recomputed",
    "prefix": "Earlier signed checkpoints are prefixes",
    "pending": "Appends that no checkpoint covers yet",
    "stray": "Objects that no log writes",
    "log": "The log can be read",
}

ENDINGS = {
    "steps": "it was the last step of the plan",
    "early_stopping": "the held-out score rose no more",
    "time": "the plan’s time was used up",
    "alarm": "an alarm was to end it",
}


def render(report: ReportData) -> str:
    """The report as one self-contained HTML document."""
    return template("page.html.j2").render(
        report=report,
        charts=[(series_title(each), series_chart(report, each)) for each in report.curves],
        memory=_memory(report),
        chance_bits=CHANCE_BITS,
        evaluation=_evaluation(report),
        assurance=ASSURANCE.get(report.assurance, report.assurance),
        check_names=CHECK_NAMES,
        alarms=ALARMS,
        endings=ENDINGS,
        probe_counts=_count_probes(report),
        no_network=_no_network(report),
        longest_lease=max((lease.data.ttl_s for lease in report.leases), default=0),
    )


def _evaluation(report: ReportData) -> Markup:
    """The held-out result at each evaluation."""
    if report.held_out is None:
        return Markup("")
    return bars(held_out_title(report.held_out), report.held_out.values)


def _memory(report: ReportData) -> Markup:
    """Exposure of the planted secrets, between luck and knowing them."""
    found = report.remembered
    if found is None:
        return Markup("")
    rows = [(item.label, item.mean, item.maximum) for item in found.measured]
    marks = [(CHANCE_BITS, "luck"), (found.bits, "known")]
    return spans("Exposure of planted secrets, bits", rows, found.bits, marks)


def _count_probes(report: ReportData) -> dict[str, int]:
    values = [value for _, value in report.probes]
    return {
        "made": len(values),
        "blocked": sum(value == "blocked" for value in values),
        "open": sum(value == "open" for value in values),
        "absent": sum(value == "absent" for value in values),
    }


def _no_network(report: ReportData) -> bool:
    """The enclave tried to open sockets, of every kind that it knows, and got none."""
    tries = [value for name, value in report.probes if ".socket" in f".{name}"]
    return bool(tries) and all(value in ("blocked", "absent") for value in tries)
