"""A trial of an evaluator, for people and as plain data."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from strongroom.errors.registry import all_codes
from strongroom.pipeline.cli.console import Output, Part, Styled, Table

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


def show(tested: Tested, output: Output) -> None:
    """A trial for people."""
    asked = tested.rows * tested.samples
    of = f" on {tested.rows} rows × {tested.samples} completions of the base model"
    output.say()
    output.say(Styled(tested.plan.evaluator.name, "bold"), of)
    facts = Table("")
    for name, said in _facts(tested, asked):
        facts.row(f"  {name}", said)
    output.table(facts)
    if tested.completions:
        output.table(_histogram(tested))
    if tested.faults:
        output.table(_faults(tested))
    for note in _notes(tested):
        output.say(note)


def _facts(tested: Tested, asked: int) -> list[tuple[str, Part]]:
    values = tested.values
    color = "green" if tested.completions == asked else "red"
    facts: list[tuple[str, Part]] = [
        ("scored", Styled(f"{tested.completions} of {asked}", color)),
    ]
    if tested.completions:
        facts.append(
            (
                "score",
                f"mean {values['score_mean']:g}   std {values['score_std']:g}   "
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
    facts.append(("logged as", Styled(tested.run, "dim")))
    own = {name: value for name, value in values.items() if name.startswith("evaluator_")}
    facts += [(name.removeprefix("evaluator_"), f"{value:g}") for name, value in own.items()]
    return facts


def _histogram(tested: Tested) -> Table:
    bars = tested.bars()
    most = max(count for _low, _high, count in bars)
    table = Table("Scores", "from", "to", "count", "", right=("from", "to", "count"))
    for low, high, count in bars:
        filled = "█" * -(-count * BAR_WIDTH // most)
        table.row(f"{low:.3g}", f"{high:.3g}", str(count), Styled(filled, "cyan"))
    return table


def _faults(tested: Tested) -> Table:
    """One line for each row and kind of failure; JSON has one for each call."""
    columns = ("row", "sealed row", "completions", "code", "line", "what")
    table = Table("Calls that failed", *columns)
    calls: dict[tuple[Any, ...], list[str]] = {}
    for fault in tested.faults:
        key = (fault.row, fault.place, fault.code, fault.line, fault.detail)
        calls.setdefault(key, []).append(str(fault.sample) if fault.sample >= 0 else "all")
    for (row, place, code, line, detail), samples in calls.items():
        table.row(
            str(row),
            place.rpartition("/")[2],
            " ".join(samples),
            Styled(code, "red"),
            str(line) if line > 0 else "–",
            all_codes()[code].title + (f": {detail}" if detail else ""),
        )
    return table


def _notes(tested: Tested) -> list[Styled]:
    notes = []
    if tested.failures and len(tested.faults) >= 100:
        notes.append(Styled("further failures are counted and not listed", "red"))
    if tested.untried:
        left = f"the evaluator ended; {tested.untried} completions were not scored"
        notes.append(Styled(left, "red"))
    if tested.values.get("zero_variance_share", 0.0) > 0.8:
        few = "most rows have equal scores for all completions: a run would learn from few of them"
        notes.append(Styled(few, "yellow"))
    return notes
