"""What this machine remembers of the runs it started."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner

from strongroom.enclave.plan.errors import BadRunId
from strongroom.pipeline.background.registry import known_runs, put_back, recall, remember
from strongroom.pipeline.cli.main import app
from strongroom.pipeline.planning.errors import RunUnknown
from strongroom.pipeline.runfile.load import LoadedRun
from strongroom.pipeline.runfile.spec import RunSpec


@pytest.fixture
def spec(load_example: Callable[..., LoadedRun], example: str) -> RunSpec:
    return load_example(example).spec


def test_a_run_is_remembered(spec, tmp_path):
    state = tmp_path / "state"
    assert remember(state, "feedback-1", spec, Path("run.yaml")) is None
    assert recall(state, "feedback-1") == spec


@pytest.mark.parametrize("by_option", [True, False])
def test_a_home_folder_that_no_shell_replaced(by_option, monkeypatch, tmp_path):
    """As Terraform and unit files hand it over."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("STRONGROOM_STATE", "~/other" if by_option else "~/state")
    option = ["--state", "~/state"] if by_option else []
    done = CliRunner().invoke(app, ["wait", "feedback-1", *option, "--json"])
    [error] = json.loads(done.output)["errors"]
    assert (error["code"], error["expected"]) == ("SR-RUN-203", f"a run in {tmp_path / 'state'}")


def test_paths_are_those_of_the_run_file(spec, tmp_path):
    remember(tmp_path, "feedback-1", spec, Path("run.yaml"))
    found = recall(tmp_path, "feedback-1").spec
    assert found.evaluator.source == spec.spec.evaluator.source
    assert found.evaluator.source.is_absolute()
    assert found.policy.bundle == spec.spec.policy.bundle
    assert found.identity is not None
    assert spec.spec.identity is not None
    assert found.identity.credentials == spec.spec.identity.credentials
    assert found.keys.releaser == spec.spec.keys.releaser


def test_only_its_owner_can_read_it(spec, tmp_path):
    remember(tmp_path / "state", "feedback-1", spec, Path("run.yaml"))
    file = tmp_path / "state" / "runs" / "feedback-1.json"
    assert file.stat().st_mode & 0o777 == 0o600
    assert file.parent.stat().st_mode & 0o777 == 0o700


def test_a_name_taken_by_mistake_is_put_back(spec, load_example, example, tmp_path):
    remember(tmp_path, "feedback-1", spec, Path("run.yaml"))
    other = load_example(example.replace("steps: 60", "steps: 50")).spec
    before = remember(tmp_path, "feedback-1", other, Path("other.yaml"))
    assert recall(tmp_path, "feedback-1") == other
    put_back(tmp_path, "feedback-1", before)
    assert recall(tmp_path, "feedback-1") == spec


def test_a_first_claim_that_was_refused_leaves_nothing(spec, tmp_path):
    """The id is that of a run which somebody else started, on another machine."""
    before = remember(tmp_path, "feedback-1", spec, Path("run.yaml"))
    put_back(tmp_path, "feedback-1", before)
    assert known_runs(tmp_path) == []
    with pytest.raises(RunUnknown):
        recall(tmp_path, "feedback-1")


def test_an_unknown_run(tmp_path):
    with pytest.raises(RunUnknown) as caught:
        recall(tmp_path, "feedback-1")
    assert caught.value.place == "feedback-1"


@pytest.mark.parametrize("run", ["", "../state", "a/b", "A", "a" * 64, "-a", "a.json"])
def test_ids_are_no_paths(spec, tmp_path, run):
    with pytest.raises(BadRunId):
        recall(tmp_path, run)
    with pytest.raises(BadRunId):
        remember(tmp_path, run, spec, Path("run.yaml"))
    assert list(tmp_path.rglob("*.json")) == []


def test_runs_are_listed_oldest_first(spec, tmp_path):
    assert known_runs(tmp_path) == []
    for at, run in enumerate(["zebra", "ant", "monkey"]):
        remember(tmp_path, run, spec, Path("run.yaml"))
        os.utime(tmp_path / "runs" / f"{run}.json", (at, at))
    assert known_runs(tmp_path) == ["zebra", "ant", "monkey"]
