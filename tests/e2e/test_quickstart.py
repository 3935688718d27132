"""``strongroom quickstart`` as a whole, with a tiny model and few rows in place of an example's.

Everything else is what the command does: it finds the stack that runs, puts the model into the
bucket, seals, trains, verifies and reports.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from strongroom.errors import Exit
from strongroom.examples.catalogue import Example
from strongroom.examples.rows import Rows
from strongroom.pipeline.cli.machine import main_job
from strongroom.pipeline.cli.main import app

PROMISED = {
    "run",
    "accuracy_before",
    "accuracy_after",
    "seconds",
    "data",
    "audit",
    "report",
    "verified",
}


def row(index: int) -> dict[str, Any]:
    messages = [{"role": "user", "content": f"Say something about number {index}."}]
    return {"id": f"row-{index}", "messages": messages, "ground_truth": "a"}


def reduced_rows(cache: Path) -> Rows:
    return Rows([row(index) for index in range(12)], [row(index) for index in range(100, 106)])


@pytest.fixture
def reduced(small_job: Any, tiny_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An example like the others, but small."""
    uri = "s3://acme-data/datasets/reduced/"
    path = small_job.run_file("reduced", train=f"{uri}train/", held_out=f"{uri}held-out/")

    class Reduced(Example):
        run_file = path

    monkeypatch.setattr(main_job, "find", lambda name: Reduced(name, reduced_rows))
    monkeypatch.setattr(main_job.base_model, "base_model", lambda cache: tiny_model)


def command(state: Path) -> Any:
    """``strongroom quickstart --json``, in this process."""
    arguments = ["quickstart", "--example", "reduced", "--state", str(state), "--json"]
    return CliRunner().invoke(app, arguments)


def test_one_json_object_sums_everything_up(
    reduced: None, small_job: Any, strongroom: Any, auditor: Any
) -> None:
    done = command(small_job.stack.state)
    assert done.exit_code == 0, done.output
    [line] = done.stdout.splitlines()
    summary = json.loads(line)
    assert summary.keys() >= PROMISED
    assert summary["verified"] is True
    assert summary["seconds"] > 0
    assert (summary["data"], summary["audit"]) == ("s3://acme-data/", "s3://acme-audit/strongroom/")
    run = summary["run"]
    [status] = strongroom("status", run).data
    assert (status["state"], status["adapter_sha256"]) == ("completed", summary["adapter_sha256"])
    metrics = json.loads(auditor.get(f"{summary['outputs']}result.json"))["evaluation"]
    for when in ("before", "after"):
        assert summary[f"accuracy_{when}"] == metrics[when]["evaluator_accuracy"]
    assert run in Path(summary["report"]).read_text()
    assert strongroom("verify", run).code == 0
    controls = strongroom("report", run).data["controls"]
    untested = {name for name, verdict in controls.items() if verdict == "not tested"}
    assert untested - {"rollback", "deletions"} == {"memory", "replay", "hardware"}
    assert strongroom.red(run) == []
    sealed = auditor.objects("datasets/reduced/")
    assert len(sealed) == 4, "a shard and a manifest of each set"


def test_a_run_that_does_not_verify_is_no_success(
    reduced: None, small_job: Any, auditor: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The summary of one takes the place of training; rows and model are there, and are used."""
    summary = {"run": "reduced-wrong", "verified": False}
    monkeypatch.setattr(main_job, "_train", lambda *_: summary)
    before = auditor.objects("datasets/reduced/")
    done = command(small_job.stack.state)
    assert done.exit_code == Exit.INTEGRITY, done.output
    first, last = (json.loads(line) for line in done.stdout.splitlines())
    assert (first["run"], first["verified"]) == ("reduced-wrong", False)
    assert [error["place"] for error in last["errors"]] == ["reduced-wrong"]
    assert auditor.objects("datasets/reduced/") == before
