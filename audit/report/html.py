"""The report that an auditor reads: one HTML file that needs nothing else and runs nothing.

No script, no external resource (its own content policy forbids them), charts as inline SVG. Every
value is escaped; none is trusted, since an evaluator chooses metric names and an operator chooses
object names.
"""

from __future__ import annotations

import re
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template
from markupsafe import Markup

from strongroom.audit.events.alarms import ALARMS
from strongroom.audit.report.charts import Series, bars, curve, number, spans
from strongroom.audit.report.model import HeldOut, ReportData
from strongroom.audit.report.remembered import CHANCE_BITS

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

METRICS = {
    "reward_mean": "Reward, mean of the step’s completions",
    "zero_variance_share": "Share of prompts that taught nothing (all scores equal)",
    "entropy": "Entropy of the policy, nats per token",
    "completion_tokens_mean": "Tokens in a completion, mean",
    "loss": "Loss",
    "kl": "Divergence from the base model",
}

TEMPLATES = Path(__file__).parent / "templates"
IN_PICTURE = ("reward_mean", "zero_variance_share")


def render(report: ReportData) -> str:
    """The report as one self-contained HTML document."""
    return _template("report.html.j2").render(
        report=report,
        charts=[(_title(each), each.points, _chart(report, each)) for each in report.curves],
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


def picture(report: ReportData) -> str:
    """How training went as one SVG that stands alone: held-out values, alarms, two curves."""
    lines = []
    if report.held_out is not None:
        values = " → ".join(f"{value:.2f}" for _, value in report.held_out.values)
        lines = [f"{_on_held_out(report.held_out).capitalize()}: {values}"]
    for alarm in report.alarms:
        meaning = ALARMS[alarm.data.alarm].meaning
        lines.append(f"Alarm at step {alarm.data.step}: {meaning}")
    shown = [each for name in IN_PICTURE for each in report.curves if each.name == name]
    panels = [(_title(each), _chart(report, each)) for each in shown]
    return _template("picture.svg.j2").render(lines=lines, panels=panels)


def _template(name: str) -> Template:
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "clock": clock,
        "number": number,
        "bytes": size,
        "duration": duration,
        "light": _light,
    }
    return environment.get_template(name)


def _light(style: str) -> str:
    """``style`` in the light colours, written out: many viewers of SVG know no CSS variables."""
    palette = (TEMPLATES / "palette.css.j2").read_text(encoding="utf-8").partition("@media")[0]
    colours = dict(re.findall(r"--([\w-]+): (#\w+);", palette))
    return re.sub(r"var\(--([\w-]+)\)", lambda found: colours[found[1]], style)


def _title(series: Series) -> str:
    return METRICS.get(series.name, series.name)


def _chart(report: ReportData, series: Series) -> Markup:
    """A curve with the checkpoints between its ends marked."""
    points = series.points
    steps = (float(item.data.step) for item in report.checkpoints)
    return curve(series, marks=[at for at in steps if points and points[0][0] < at < points[-1][0]])


def _on_held_out(held_out: HeldOut) -> str:
    return f"{held_out.metric} on {held_out.records} held-out records"


def _evaluation(report: ReportData) -> Markup:
    """The held-out result at each evaluation."""
    if report.held_out is None:
        return Markup("")
    return bars(_on_held_out(report.held_out), report.held_out.values)


def _memory(report: ReportData) -> Markup:
    """Exposure of the planted secrets, between luck and knowing them."""
    found = report.remembered
    if found is None:
        return Markup("")
    rows = [(item.label, item.mean, item.maximum) for item in found.measured]
    marks = [(CHANCE_BITS, "luck"), (found.bits, "known")]
    return spans("Exposure of planted secrets, bits", rows, found.bits, marks)


def clock(time: str) -> str:
    """``2026-03-14T09:26:53.589Z`` as ``2026-03-14 09:26:53``."""
    return time[:19].replace("T", " ")


def size(count: int) -> str:
    """Bytes in binary units."""
    value = float(count)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if value < 1024:
            return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1024
    return f"{value:.1f} TiB"


def duration(seconds: float) -> str:
    """Seconds as hours, minutes and seconds."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    parts = ((hours, "h"), (minutes, "min"), (rest, "s"))
    return " ".join(f"{value} {unit}" for value, unit in parts if value) or "0 s"


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
