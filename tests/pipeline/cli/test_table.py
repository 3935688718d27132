"""The table of commands: each row is true, and asking for help loads nothing heavy."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator

import pytest
import typer
from typer.testing import CliRunner

import strongroom
from strongroom.pipeline.cli.main import Unloaded, app
from strongroom.pipeline.cli.table import COMMANDS, Command, Group

HEAVY = {
    "apache_beam",
    "boto3",
    "botocore",
    "google",
    "hvac",
    "numpy",
    "obstore",
    "pyarrow",
    "regopy",
    "requests",
    "torch",
    "transformers",
}
"""What no command needs in order to say what it does."""
_HELP = """
import json, sys
from strongroom.pipeline.cli.main import app
loaded = {}
for command in json.loads(sys.argv[1]):
    try:
        app([*command.split(), "--help"])
    except SystemExit as end:
        assert end.code == 0, command
    loaded[command] = list(sys.modules)
print(json.dumps(loaded), file=sys.stderr)
"""


def rows() -> Iterator[tuple[str, Command]]:
    for name, row in COMMANDS.items():
        if isinstance(row, Group):
            yield from ((f"{name} {each}", command) for each, command in row.commands.items())
        else:
            yield name, row


def loaded_for_help(*commands: str) -> dict[str, set[str]]:
    """The modules of one fresh interpreter after it was asked for the help of each command."""
    arguments = [sys.executable, "-I", "-c", _HELP, json.dumps(commands)]
    done = subprocess.run(arguments, capture_output=True, text=True, check=True)
    return {name: set(modules) for name, modules in json.loads(done.stderr).items()}


def test_the_list_of_commands_loads_none_of_them():
    modules = loaded_for_help("")[""]
    assert not {f"strongroom.pipeline.cli.{row.module}" for _name, row in rows()} & modules


def test_the_help_of_a_command_loads_no_other():
    modules = loaded_for_help("status")["status"]
    loaded = [row.module for _, row in rows() if f"strongroom.pipeline.cli.{row.module}" in modules]
    assert loaded == ["runs.status"]


def test_no_commands_help_loads_beam_torch_or_a_network_client():
    found = loaded_for_help("", *(name for name, _row in rows()))
    assert {name: sorted(modules & HEAVY) for name, modules in found.items()} == {
        name: [] for name in found
    }
    modules = found[list(found)[-1]]
    assert {f"strongroom.pipeline.cli.{row.module}" for _name, row in rows()} <= modules


def test_what_is_heavy_is_seen_where_it_is_loaded():
    """The control: what a command does loads what its help does not."""
    code = "import sys, strongroom.pipeline.run.stages; print(*sys.modules)"
    arguments = [sys.executable, "-I", "-c", code]
    done = subprocess.run(arguments, capture_output=True, text=True, check=True)
    assert "apache_beam" in done.stdout.split()


@pytest.mark.parametrize(("name", "row"), list(rows()))
def test_each_row_has_the_first_paragraph_of_its_commands_help(name, row):
    function = Unloaded(name, row).load()
    assert row.summary == " ".join(function.help.split("\n\n")[0].split())


def test_every_command_can_print_json():
    """``docs`` writes pages; everything else is called by programs, too."""
    without = []
    for name, row in rows():
        command = Unloaded(name, row).load()
        if not any("--json" in parameter.opts for parameter in command.params):
            without.append(name)
    assert without == ["docs"]


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["rollouts", "nobody-1", "--state", "{folder}", "--json"], "SR-RUN-203"),
        (["releaser", "serve", "{folder}/releaser.json", "--json"], "SR-RELEASE-006"),
    ],
)
def test_an_error_is_one_json_document(arguments, code, tmp_path):
    result = CliRunner().invoke(app, [each.format(folder=tmp_path) for each in arguments])
    assert [each["code"] for each in json.loads(result.stdout)["errors"]] == [code]


def test_version():
    result = CliRunner().invoke(app, ["--version"])
    assert (result.exit_code, result.output) == (0, f"{strongroom.__version__}\n")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["statsu"], "Did you mean 'status'?"),
        (["stack", "nope"], "No such command 'nope'."),
    ],
)
def test_an_unknown_command_is_named(arguments, said):
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 2
    assert said in result.output


def test_a_hidden_command_is_not_listed_and_works():
    assert "docs" not in CliRunner().invoke(app, ["--help"]).output
    assert CliRunner().invoke(app, ["docs", "--help"]).exit_code == 0


def test_the_group_is_one_that_typer_knows():
    assert isinstance(typer.main.get_command(app), typer.core.TyperGroup)
