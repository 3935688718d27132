"""What the formats share: the templates, and how a report's series, sizes and times are written.

Everything that a template is given is escaped, and what cannot be seen is spelled out.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template
from markupsafe import Markup

from strongroom.audit.report.charts import Series, curve, number
from strongroom.audit.report.controls.row import Control
from strongroom.audit.report.model import HeldOut, ReportData
from strongroom.errors.visible import visible

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

CHECKS = {
    "checkpoint": "The log’s entries hash to the signed root",
    "tile": "Entry bundles and hash tiles, recomputed",
    "prefix": "Earlier versions of the checkpoint are prefixes",
    "remembered": "It extends what was read of it before",
    "earlier checkpoint": "It extends checkpoints that were kept elsewhere",
    "witnesses": "Witnesses have signed its checkpoint",
    "rolled back": "Checkpoints that were put back to an earlier size",
    "written over": "Objects that somebody has written over",
    "not in the log": "Objects beside the log, which are no part of it",
    "superseded": "Objects of earlier sizes",
    "not read": "What was not looked at",
    "log": "The log can be read",
    "entries": "Every entry is an event, said in its order",
    "the run's story": "The log tells the run’s whole story",
}
"""Names of checks of the log, in words; any other check is named in words already."""


def template(name: str) -> Template:
    """A template, with the filters that all of them use."""
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        finalize=_shown,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "clock": clock,
        "number": number,
        "bytes": size,
        "duration": duration,
        "css": css,
        "check_name": check_name,
        "entries_said": entries_said,
        "light": _light,
    }
    return environment.get_template(name)


def _shown(value: object) -> object:
    """Text from outside, so that nobody reads it as other text; markup of ours is none."""
    return visible(value) if isinstance(value, str) and not isinstance(value, Markup) else value


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


def check_name(name: str) -> str:
    """What a check is of, in words."""
    short = name.removeprefix("Audit log: ")
    return CHECKS.get(short, short)


def css(text: str) -> str:
    """``text`` inside a string of a style sheet: all but plain characters as escapes."""
    return re.sub(r"[^A-Za-z0-9 ._-]", lambda found: f"\\{ord(found[0]):06x}", text)


def entries_said(control: Control) -> str:
    """The entries that a control looked at: indices by event type, or all of them in short."""
    if len(control.looked_at) > 6:
        every = sorted(index for _, found in control.looked_at for index in found)
        return f"{len(every)} entries of every type, {every[0]} to {every[-1]}"
    return "; ".join(f"{kind} {_ranges(found)}" for kind, found in control.looked_at)


def _ranges(indices: Sequence[int]) -> str:
    """``3, 5–9, 12``; of many, the first and how many more there are."""
    runs: list[list[int]] = []
    for index in indices:
        if runs and index == runs[-1][1] + 1:
            runs[-1][1] = index
        else:
            runs.append([index, index])
    said = [f"{a}" if a == b else f"{a}–{b}" for a, b in runs]
    return ", ".join(said[:8]) + (f" and {len(said) - 8} more" if len(said) > 8 else "")


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
