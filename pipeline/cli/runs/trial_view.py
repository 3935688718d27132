"""A trial of an evaluator, for people and as plain data."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from strongroom.errors.registry import all_codes

if TYPE_CHECKING:
    from strongroom.pipeline.trial import Tested

BAR_WIDTH = 40


def document(tested: Tested) -> dict[str, Any]:
    """A trial as plain data."""
    return {
        "run": tested.run,
        "plan": tested.plan.digest,
        "evaluator": tested.plan.evaluator.sha256,
        "rows": tested.rows,
        "samples": tested.samples,
        "completions": tested.completions,
        "failures": tested.failures,
        "untried": tested.untried,
        "values": tested.values,
        "histogram": [
            {"from": low, "to": high, "count": count} for low, high, count in tested.bars()
        ],
        "faults": [
            {
                "row": fault.row,
                "place": fault.place,
                "sample": fault.sample,
                "code": fault.code,
                "detail": fault.detail,
                "line": fault.line,
            }
            for fault in tested.faults
        ],
    }


def show(tested: Tested, console: Console) -> None:
    """A trial for people."""
    asked = tested.rows * tested.samples
    console.print(
        f"\n[bold]{escape(tested.plan.evaluator.name)}[/] on {tested.rows} rows × "
        f"{tested.samples} completions of the base model"
    )
    grid = Table.grid(padding=(0, 3))
    for name, text in _facts(tested, asked):
        grid.add_row(f"  {name}", text)
    console.print(grid)
    if tested.completions:
        console.print(_histogram(tested))
    if tested.faults:
        console.print(_faults(tested))
    for note in _notes(tested):
        console.print(note)


def _facts(tested: Tested, asked: int) -> list[tuple[str, str]]:
    values = tested.values
    color = "green" if tested.completions == asked else "red"
    facts = [("scored", f"[{color}]{tested.completions} of {asked}[/]")]
    if tested.completions:
        facts.append(
            (
                "score",
                f"mean [bold]{values['score_mean']:g}[/]   std {values['score_std']:g}   "
                f"least {values['score_min']:g}   greatest {values['score_max']:g}",
            )
        )
    if "zero_variance_share" in values:
        facts.append(("std within a row", f"{values['group_std_mean']:g}"))
        facts.append(
            ("rows that teach nothing", f"{values['zero_variance_share']:.0%} (all scores equal)")
        )
    if "seconds_mean" in values:
        facts.append(
            (
                "time per call",
                f"mean {1000 * values['seconds_mean']:.3g} ms   "
                f"longest {1000 * values['seconds_max']:.3g} ms",
            )
        )
    facts.append(("logged as", f"[dim]{tested.run}[/]"))
    own = {name: value for name, value in values.items() if name.startswith("evaluator_")}
    facts += [(escape(name.removeprefix("evaluator_")), f"{v:g}") for name, v in own.items()]
    return facts


def _histogram(tested: Tested) -> Table:
    bars = tested.bars()
    most = max(count for _low, _high, count in bars)
    table = Table(
        box=None, title="Scores", title_justify="left", title_style="bold", padding=(0, 1)
    )
    for name in ("from", "to", "count"):
        table.add_column(name, justify="right")
    table.add_column("")
    for low, high, count in bars:
        filled = "█" * -(-count * BAR_WIDTH // most)
        table.add_row(f"{low:.3g}", f"{high:.3g}", str(count), f"[cyan]{filled}[/]")
    return table


def _faults(tested: Tested) -> Table:
    """One line for each row and kind of failure; JSON has one for each call."""
    table = Table(box=None, title="Calls that failed", title_justify="left", title_style="bold red")
    for name in ("row", "sealed row", "completions", "code", "line", "what"):
        table.add_column(name, overflow="fold")
    calls: dict[tuple[Any, ...], list[str]] = {}
    for fault in tested.faults:
        key = (fault.row, fault.place, fault.code, fault.line, fault.detail)
        calls.setdefault(key, []).append(str(fault.sample) if fault.sample >= 0 else "all")
    for (row, place, code, line, detail), samples in calls.items():
        table.add_row(
            str(row),
            escape(place.rpartition("/")[2]),
            " ".join(samples),
            f"[red]{code}[/]",
            str(line) if line > 0 else "–",
            all_codes()[code].title + (f": {detail}" if detail else ""),
        )
    return table


def _notes(tested: Tested) -> list[str]:
    notes = []
    if tested.failures and len(tested.faults) >= 100:
        notes.append("[red]further failures are counted and not listed[/]")
    if tested.untried:
        notes.append(f"[red]the evaluator ended; {tested.untried} completions were not scored[/]")
    if tested.values.get("zero_variance_share", 0.0) > 0.8:
        notes.append(
            "[yellow]most rows have equal scores for all completions: a run would learn from few "
            "of them[/]"
        )
    return notes
