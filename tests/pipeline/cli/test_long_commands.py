"""Commands that take long say what they do: on a terminal, beside their output, never in it."""

from __future__ import annotations

import io
import json
from typing import Any

import pytest

from strongroom.pipeline import controller
from strongroom.pipeline.background import registry
from strongroom.pipeline.cli import reporting
from strongroom.pipeline.cli import watching as cli_watching
from strongroom.pipeline.cli.console import Output
from strongroom.pipeline.cli.inspect import report as report_command
from strongroom.pipeline.cli.inspect import verify as verify_command
from strongroom.pipeline.cli.main import app
from strongroom.pipeline.cli.progress import STAGES, Terminal
from strongroom.pipeline.embedded import stack
from strongroom.pipeline.inspection import report, verify
from strongroom.pipeline.keyholder import export
from strongroom.pipeline.owner import seal as sealing_module
from strongroom.pipeline.planning.errors import RunUnknown
from support.screens import Screen, plain

COMMANDS = {
    "verify": (["verify", "r"], (verify, "verify"), "verify_run"),
    "report": (["report", "r"], (report, "write_report"), "report"),
    "export": (["export", "r", "--to", "out"], (export, "export"), "export"),
    "plan": (["plan", "run.yaml", "--id", "r"], (controller, "admit_early"), "plan"),
    "seal": (
        [
            "seal",
            "rows.jsonl",
            "s3://acme-data/x/",
            "--key",
            "vault://transit/feedback",
            "--name",
            "x",
        ],
        (sealing_module, "seal"),
        "seal_rows",
    ),
    "stack up": (["stack", "up", "--with-model"], (stack, "upload_model"), "upload"),
}


class Anything:
    """Stands for a run file, a stack, a dataset's place."""

    def __getattr__(self, _name: str) -> Any:
        return Anything()

    def __call__(self, *_: object, **__: object) -> Any:
        return Anything()

    def __iter__(self) -> Any:
        return iter((Anything(), Anything()))

    def __getitem__(self, _key: object) -> Any:
        return Anything()

    def __str__(self) -> str:
        return "x"

    def __fspath__(self) -> str:
        return "x"


def refuse(*_: object, **__: object) -> None:
    raise RunUnknown(place="x")


@pytest.fixture
def shown(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> io.StringIO:
    """What goes to standard error, of which the parameter says whether it is a terminal."""
    monkeypatch.setenv("COLUMNS", "120")
    stream = Screen() if request.param else io.StringIO()
    err = Output(lambda: stream)
    monkeypatch.setattr(cli_watching, "err", err)
    monkeypatch.setattr(reporting, "err", err)
    return stream


def end(command: str, monkeypatch: pytest.MonkeyPatch, *options: str) -> None:
    """Run a command whose long part fails at once; what lies around it stands still."""
    arguments, (module, long_part), _stage = COMMANDS[command]
    monkeypatch.setattr(registry, "recall", Anything())
    for module_of_command in (report_command, verify_command):
        monkeypatch.setattr(module_of_command, "reading", lambda *_, **__: (None, "r", None))
    monkeypatch.setattr(stack, "up", Anything())
    monkeypatch.setattr("strongroom.examples.base_model.base_model", Anything())
    monkeypatch.setattr("strongroom.pipeline.cli.runs.plan.read_run_file", Anything())
    monkeypatch.setattr("strongroom.pipeline.cli.owner.target.data_owner", Anything())
    monkeypatch.setattr(module, long_part, refuse)
    with pytest.raises(SystemExit) as caught:
        app([*arguments, "--state", "/nowhere", *options])
    assert caught.value.code == 2


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("shown", [True], indirect=True)
def test_a_stage_is_shown_on_a_terminal(command, shown, monkeypatch, capsys):
    end(command, monkeypatch)
    assert f"✗ {STAGES[COMMANDS[command][2]]}" in plain(shown.getvalue())
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize(
    ("shown", "options"), [(False, ()), (True, ("--json",))], indirect=["shown"]
)
def test_nothing_is_shown_elsewhere(command, shown, options, monkeypatch, capsys):
    end(command, monkeypatch, *options)
    assert not [text for text in STAGES.values() if text in shown.getvalue()]
    out = capsys.readouterr().out
    assert not options or [error["code"] for error in json.loads(out)["errors"]] == ["SR-RUN-203"]


def test_what_has_no_known_total_is_counted():
    stream = Screen()
    with Terminal(Output(lambda: stream)) as watcher:
        watcher.stage("seal_rows")
        watcher.progress("seal", 200, 0)
        watcher._bars.refresh()
        assert "200" in stream.getvalue()
        assert "200/" not in stream.getvalue()
