"""``strongroom quickstart``: the main job on one machine, with nothing mocked.

Start the stack, seal rated customer feedback, train a real model on it, verify and report. Every
step can be repeated: what is there already is used, and each call makes one new run.
"""

from __future__ import annotations

import json
import tempfile
import time
from pathlib import Path
from typing import Any

from rich.panel import Panel
from rich.table import Table

import examples.feedback
from connectors.errors import ObjectMissing
from connectors.uri import parse
from pipeline import controller, embedded, inputs, inspection, registry
from pipeline.connections import Watcher
from pipeline.console import out, print_json
from pipeline.process_errors import VerificationFailed
from pipeline.progress import Silent, Terminal
from pipeline.releaser_socket import ReleaserClient
from pipeline.runfile import load
from pipeline.sealing import seal

RUN_FILE = Path(next(iter(examples.feedback.__path__))) / "run.yaml"
DATA_KEY = "vault://transit/feedback"
RECORDS_PER_SHARD = 100


def run_quickstart(state: Path, *, as_json: bool) -> None:
    """The whole main job; prints a summary, or one JSON object last."""
    started = time.monotonic()
    state = state.expanduser().absolute()
    if as_json:
        summary = _main_job(state, Silent(), started)
        print_json(summary)
    else:
        out.print(
            Panel.fit(
                "[bold]Strongroom quickstart[/]\n"
                "A real model, real feedback, real servers on loopback.\n"
                "No process ever holds both plaintext and a network.",
                border_style="dim",
            )
        )
        with Terminal(out, steps=60) as watcher:
            summary = _main_job(state, watcher, started)
        _show(summary)
    if not summary["verified"]:
        raise VerificationFailed(place=str(summary["run"]))


def _main_job(state: Path, watcher: Watcher, started: float) -> dict[str, Any]:
    watcher.stage("stack")
    stack = embedded.up(state)
    watcher.stage("model")
    cache = inputs.CACHE.expanduser()
    folder = inputs.base_model(cache)
    watcher.stage("upload")
    digest = embedded.upload_model(stack, folder)
    watcher.fact(digest[:19] + "…")
    watcher.stage("rows")
    train, held_out = inputs.feedback_rows(cache)
    watcher.fact(f"{len(train)} to train on, {len(held_out)} held out")
    watcher.stage("seal")
    for name, rows in (("train", train), ("held-out", held_out)):
        _seal_once(stack, name, rows)
    watcher.fact("AES-256-GCM, keysets wrapped by the key service")
    loaded = load(RUN_FILE, stack=stack.variables())
    run = controller.new_run_id(loaded.spec.metadata.name)
    registry.remember(state, run, loaded.spec, RUN_FILE)
    outcome = controller.run(loaded, run, watcher)
    watcher.stage("verify_run")
    report, checks = inspection.write_report(loaded.spec, run, None, state)
    verified = all(check.ok for check in checks)
    watcher.fact(f"{sum(check.ok for check in checks)} of {len(checks)} checks hold")
    return {
        "run": run,
        "accuracy_before": outcome.evaluations["before"]["evaluator_accuracy"],
        "accuracy_after": outcome.evaluations["after"]["evaluator_accuracy"],
        "seconds": round(time.monotonic() - started, 1),
        "data": f"s3://{stack.info.data_bucket}/",
        "audit": loaded.spec.spec.audit,
        "report": str(report),
        "verified": verified,
        "adapter_sha256": outcome.adapter,
        "outputs": outcome.folder,
    }


def _seal_once(stack: embedded.Embedded, name: str, rows: list[dict[str, Any]]) -> None:
    """Seal rows into ``datasets/feedback/<name>/`` unless a manifest is there already."""
    target = parse(f"s3://{stack.info.data_bucket}/datasets/feedback/{name}/")
    bucket = stack.owner_bucket(target.key)
    try:
        bucket.head(target.key + "manifest.json")
    except ObjectMissing:
        pass
    else:
        return
    # The owner's plaintext, on the owner's machine, for as long as it takes to seal it.
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / f"{name}.jsonl"
        source.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
        seal(
            source,
            target,
            bucket,
            ReleaserClient(stack.releaser_socket),
            kms=DATA_KEY,
            name=f"feedback.{name}",
            records_per_shard=RECORDS_PER_SHARD,
        )


def _show(summary: dict[str, Any]) -> None:
    """What a person wants to see at the end."""
    table = Table.grid(padding=(0, 2))
    table.add_column(style="dim")
    table.add_column(overflow="fold")
    before, after = summary["accuracy_before"], summary["accuracy_after"]
    table.add_row("held-out accuracy", f"{before:.2f} → [bold green]{after:.2f}[/]")
    table.add_row("run", summary["run"])
    verified = "[green]verified[/]" if summary["verified"] else "[red]NOT VERIFIED[/]"
    table.add_row("audit trail", verified)
    table.add_row("report", summary["report"])
    table.add_row("log", summary["audit"])
    table.add_row("sealed outputs", summary["outputs"])
    table.add_row("took", f"{summary['seconds']:.0f} s")
    out.print(Panel(table, title="done", border_style="green", expand=False))
    out.print(
        f"[dim]Look on:[/] strongroom verify {summary['run']}"
        f"[dim] · [/]strongroom rollouts {summary['run']}"
    )
