"""``strongroom evaluator …``: try an evaluator before a run spends anything on it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from pipeline import embedded
from pipeline.console import out, print_json, reporting

app = typer.Typer(no_args_is_help=True, help="Evaluators: try one before a run.")

BAR_WIDTH = 40


@app.command("test")
def try_out(
    run_file: Annotated[Path, typer.Argument(help="The run file (YAML).")],
    rows: Annotated[int, typer.Option(min=1, help="Rows of the training data.")] = 16,
    samples: Annotated[
        int, typer.Option(min=0, help="Completions of each row; default: as in training.")
    ] = 0,
    params: Annotated[
        list[str] | None, typer.Option("--param", help="name=value for ${params.name}.")
    ] = None,
    state: Annotated[
        Path, typer.Option(envvar="STRONGROOM_STATE", help="Folder of the embedded stack.")
    ] = embedded.DEFAULT_STATE,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """Score completions of the base model on sealed rows, in an enclave; writes no output."""
    from pipeline.cli import read_run_file, watching
    from pipeline.evaluator_trial import try_evaluator

    with reporting(as_json):
        loaded = read_run_file(run_file, params, state)
        wanted = samples or loaded.spec.spec.training.samples_per_prompt
        with watching(as_json, 0) as watcher:
            tested = try_evaluator(loaded, rows, wanted, watcher)
        if as_json:
            print_json(document(tested))
        else:
            show(tested, out)
        if tested.failures or tested.untried:
            raise SystemExit(1)


def document(tested: Any) -> dict[str, Any]:
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


def show(tested: Any, console: Console) -> None:
    """A trial for people."""
    asked = tested.rows * tested.samples
    console.print(
        f"\n[bold]{escape(tested.plan.evaluator.name)}[/] on {tested.rows} rows × "
        f"{tested.samples} completions of the base model  [dim]{tested.run}[/]"
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


def _facts(tested: Any, asked: int) -> list[tuple[str, str]]:
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
    own = {name: value for name, value in values.items() if name.startswith("evaluator_")}
    facts += [(escape(name.removeprefix("evaluator_")), f"{v:g}") for name, v in own.items()]
    return facts


def _histogram(tested: Any) -> Table:
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


def _faults(tested: Any) -> Table:
    from errors import all_codes

    table = Table(box=None, title="Calls that failed", title_justify="left", title_style="bold red")
    for name in ("row", "sealed row", "completion", "code", "evaluator line", "what"):
        table.add_column(name, overflow="fold")
    for fault in tested.faults:
        what = fault.detail or all_codes()[fault.code].title
        table.add_row(
            str(fault.row),
            escape(fault.place),
            str(fault.sample) if fault.sample >= 0 else "all",
            f"[red]{fault.code}[/]",
            str(fault.line) if fault.line > 0 else "–",
            what,
        )
    return table


def _notes(tested: Any) -> list[str]:
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
