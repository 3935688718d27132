"""What the formats share: the templates, and how a report's series, sizes and times are written.

Everything that a template is given is escaped.
"""

from __future__ import annotations

import re
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template
from markupsafe import Markup

from strongroom.audit.report.charts import Series, curve, number
from strongroom.audit.report.model import HeldOut, ReportData

TEMPLATES = Path(__file__).parent / "templates"

METRICS = {
    "reward_mean": "Reward, mean of the step’s completions",
    "zero_variance_share": "Share of prompts that taught nothing (all scores equal)",
    "entropy": "Entropy of the policy, nats per token",
    "completion_tokens_mean": "Tokens in a completion, mean",
    "loss": "Loss",
    "kl": "Divergence from the base model",
}
"""Titles of step metrics; any other has its own name."""


def template(name: str) -> Template:
    """A template, with the filters that all of them use."""
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


def series_title(series: Series) -> str:
    """What a curve shows."""
    return METRICS.get(series.name, series.name)


def series_chart(report: ReportData, series: Series) -> Markup:
    """A curve with the checkpoints between its ends marked."""
    points = series.points
    steps = (float(item.data.step) for item in report.checkpoints)
    return curve(series, marks=[at for at in steps if points and points[0][0] < at < points[-1][0]])


def held_out_title(held_out: HeldOut) -> str:
    """Which metric over how many records."""
    return f"{held_out.metric} on {held_out.records} held-out records"


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


def _light(style: str) -> str:
    """``style`` in the light colours, written out: many viewers of SVG know no CSS variables."""
    palette = (TEMPLATES / "palette.css.j2").read_text(encoding="utf-8").partition("@media")[0]
    colours = dict(re.findall(r"--([\w-]+): (#\w+);", palette))
    return re.sub(r"var\(--([\w-]+)\)", lambda found: colours[found[1]], style)
