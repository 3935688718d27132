"""``strongroom quickstart``: the main job, or another example, on one machine with nothing mocked.

Start the stack, seal an example's rows, train a real model on them, verify and report. Every step
can be repeated: what is there already is used, and each call makes one new run.
"""

from __future__ import annotations

import tempfile
import time
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

from strongroom.connectors.buckets.errors import ObjectMissing
from strongroom.connectors.buckets.uri import parse
from strongroom.enclave.plan.objects import MANIFEST
from strongroom.examples import base_model
from strongroom.examples.catalogue import Example, find
from strongroom.examples.packages import CACHE
from strongroom.examples.rows import encoded
from strongroom.pipeline import controller
from strongroom.pipeline.background import registry, run_locks
from strongroom.pipeline.broker.reading import ReadAccess
from strongroom.pipeline.cli.console import Styled, Table, out, print_json
from strongroom.pipeline.cli.progress import Terminal
from strongroom.pipeline.embedded import stack
from strongroom.pipeline.embedded.owner import Embedded
from strongroom.pipeline.embedded.places import DATA_KEY
from strongroom.pipeline.inspection.errors import VerificationFailed
from strongroom.pipeline.inspection.log import Logs
from strongroom.pipeline.inspection.report import write_report
from strongroom.pipeline.inspection.trust import Trust
from strongroom.pipeline.owner.seal import seal
from strongroom.pipeline.planning.intent import new_run_id
from strongroom.pipeline.releaser.client import ReleaserClient
from strongroom.pipeline.run.watcher import Silent, Watcher
from strongroom.pipeline.runfile.load import LoadedRun, load

RECORDS_PER_SHARD = 100


def run_quickstart(state: Path, name: str, *, as_json: bool) -> None:
    """The whole job of one example; prints a summary, or one JSON object last.

    Raises ``SR-INPUT-006`` for a name that is none.
    """
    started = time.monotonic()
    example = find(name)
    state = state.expanduser().absolute()
    if not as_json:
        out.say(Styled("Strongroom quickstart", "bold"))
        out.say("A real model, real rows, real servers on loopback.")
        out.say("No process ever holds both plaintext and a network.")
        out.say()
    with _watching(as_json) as watcher:
        loaded = _prepare(example, state, watcher)
    with _watching(as_json, loaded.spec.spec.training.steps) as watcher:
        summary = _train(example, loaded, state, watcher)
    summary["seconds"] = round(time.monotonic() - started, 1)
    if as_json:
        print_json(summary)
    else:
        _show(summary)
    if not summary["verified"]:
        raise VerificationFailed(place=str(summary["run"]))


def _watching(as_json: bool, steps: int = 0) -> AbstractContextManager[Watcher]:
    return nullcontext(Silent()) if as_json else Terminal(out, steps)


def _prepare(example: Example, state: Path, watcher: Watcher) -> LoadedRun:
    """Everything that a run file of the example names."""
    watcher.stage("stack")
    embedded = stack.up(state)
    watcher.stage("model")
    cache = CACHE.expanduser()
    folder = base_model.base_model(cache)
    watcher.stage("upload")
    digest = stack.upload_model(embedded, folder)
    watcher.fact(digest[:19] + "…")
    watcher.stage("rows")
    rows = example.rows(cache)
    watcher.fact(f"{len(rows.train)} to train on, {len(rows.held_out)} held out")
    watcher.stage("seal")
    _seal_once(embedded, f"{example.name}/train", rows.train)
    _seal_once(embedded, f"{example.name}/held-out", rows.held_out)
    watcher.fact("AES-256-GCM, keysets wrapped by the key service")
    return load(example.run_file, stack=embedded.variables())


def _train(example: Example, loaded: LoadedRun, state: Path, watcher: Watcher) -> dict[str, Any]:
    """Run, verify, report; all of the summary but the seconds."""
    run = new_run_id(loaded.spec.metadata.name)
    registry.remember(state, run, loaded.spec, example.run_file)
    with run_locks.controlling(state, run):
        outcome = controller.run(loaded, run, watcher)
    watcher.stage("verify_run")
    logs = Logs(state)
    vkey = logs.key(loaded.spec)
    reader = ReadAccess(loaded.spec, run)
    report, found = write_report(reader, run, None, state, Trust(vkey, logs.copy(vkey)))
    held = found.checks_made - found.checks_failed
    watcher.fact(f"{held} of {found.checks_made} checks hold")
    return {
        "run": run,
        "example": example.name,
        "accuracy_before": outcome.evaluations["before"]["evaluator_accuracy"],
        "accuracy_after": outcome.evaluations["after"]["evaluator_accuracy"],
        "data": loaded.spec.spec.data.train.rpartition("datasets/")[0],
        "audit": loaded.spec.spec.audit,
        "report": str(report),
        "verified": found.verified,
        "alarms": outcome.alarms,
        "adapter_sha256": outcome.adapter,
        "outputs": outcome.folder,
    }


def _seal_once(embedded: Embedded, name: str, rows: list[dict[str, Any]]) -> None:
    """Seal rows into ``datasets/<name>/`` unless a manifest is there already."""
    target = parse(f"s3://{embedded.info.data_bucket}/datasets/{name}/")
    bucket = embedded.owner_bucket(target.key)
    try:
        bucket.head(target.key + MANIFEST)
    except ObjectMissing:
        pass
    else:
        return
    # The owner's plaintext, on the owner's machine, for as long as it takes to seal it.
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "rows.jsonl"
        source.write_text(encoded(rows), encoding="utf-8")
        seal(
            source,
            target,
            bucket,
            ReleaserClient(embedded.releaser_socket),
            kms=DATA_KEY,
            name=name.replace("/", "."),
            records_per_shard=RECORDS_PER_SHARD,
        )


def _show(summary: dict[str, Any]) -> None:
    """What a person wants to see at the end."""
    verified = Styled("verified", "green") if summary["verified"] else Styled("NOT VERIFIED", "red")
    accuracy = f"{summary['accuracy_before']:.2f} → {summary['accuracy_after']:.2f}"
    table = Table("")
    table.row("held-out accuracy", Styled(accuracy, "bold green"))
    table.row("run", summary["run"])
    table.row("audit trail", verified)
    if summary["alarms"]:
        table.row("alarms", Styled(", ".join(summary["alarms"]), "yellow"))
    table.row("report", summary["report"])
    table.row("log", summary["audit"])
    table.row("sealed outputs", summary["outputs"])
    table.row("took", f"{summary['seconds']:.0f} s")
    out.say()
    out.table(table)
    out.say()
    look = f"strongroom verify {summary['run']} · strongroom rollouts {summary['run']}"
    out.say(Styled("Look on: ", "dim"), look)
