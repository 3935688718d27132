"""The page: the whole report as one HTML file that needs nothing else and runs nothing.

No script, no external resource (its own content policy forbids them), charts as inline SVG. Every
value is escaped; none is trusted, since an evaluator chooses metric names and an operator chooses
object names.
"""

from __future__ import annotations

from markupsafe import Markup

from strongroom.audit.events.alarms import ALARMS
from strongroom.audit.report.charts import bars, spans
from strongroom.audit.report.controls.row import plural
from strongroom.audit.report.model import ReportData
from strongroom.audit.report.remembered import CHANCE_BITS
from strongroom.audit.report.rendering import (
    duration,
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

SECTIONS = (
    "Verdict and log",
    "Scope, period and parties",
    "Data flow, and what each role could see",
    "Controls, and the entries that answer for them",
    "Inventory",
    "Access and keys",
    "After the run",
    "Lineage",
    "Training",
    "Deletions, retention, exceptions and waivers",
    "Limits",
    "Verify it yourself",
)

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
        sections=SECTIONS,
        failures=[check for group in report.checks for check in group.failed],
        passed=sum(control.verdict == "pass" for control in report.controls),
        charts=[(series_title(each), series_chart(report, each)) for each in report.curves],
        memory=_memory(report),
        chance_bits=CHANCE_BITS,
        evaluation=_evaluation(report),
        assurance=ASSURANCE.get(report.assurance, report.assurance),
        alarms=ALARMS,
        endings=ENDINGS,
        leases_said=_leases(report),
        enclave_said=_probes(report),
        releases_said=f"{plural(len(report.releases), 'release')}, "
        f"{plural(len(report.refusals), 'refusal')}",
    )


def _evaluation(report: ReportData) -> Markup:
    """The held-out result at each evaluation."""
    if not report.held_out:
        return Markup("")
    return bars(held_out_title(report.held_out[0]), report.held_out[0].values)


def _memory(report: ReportData) -> Markup:
    """Exposure of the planted secrets, between luck and knowing them."""
    found = report.remembered
    if found is None:
        return Markup("")
    rows = [(item.label, item.mean, item.maximum) for item in found.measured]
    marks = [(CHANCE_BITS, "luck"), (found.bits, "known")]
    return spans("Exposure of planted secrets, bits", rows, found.bits, marks)


def _leases(report: ReportData) -> str:
    longest = max((lease.data.ttl_s for lease in report.leases), default=0)
    return f"{plural(len(report.leases), 'lease')}, the longest for {duration(longest)}"


def _probes(report: ReportData) -> str:
    if not report.probes:
        return "no enclave is in the log"
    values = [value for _, value in report.probes]
    counts = {word: values.count(word) for word in ("blocked", "absent", "open")}
    said = ", ".join(f"{count} {word}" for word, count in counts.items() if count)
    return f"{plural(len(values), 'probe')} from inside the last enclave; of attempts {said}"
