"""Fixtures: the modules' policies, rendered; the provider as Terraform finds it; an embedded stack.

The modules' tests need this folder's files only. The provider's call the ``strongroom`` command
that ``STRONGROOM_COMMAND`` names, as ``make test-terraform`` does; it lives in another environment.
"""

from __future__ import annotations

import json
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
sys.path.insert(0, str(HERE))

import terraform_cli  # noqa: E402
from examples_values import AWS_EXAMPLE, MODULES  # noqa: E402


@pytest.fixture(scope="session")
def planned() -> dict[str, Any]:
    """What `strongroom plan` lists for a run of examples/feedback/run.yaml."""
    return dict(json.loads((HERE / "planned_run.json").read_text()))


@pytest.fixture(scope="session")
def aws(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The outputs of modules/aws/policies for the example; policies as documents."""
    data = tmp_path_factory.mktemp("aws-policies")
    return documents(terraform_cli.outputs(MODULES / "aws" / "policies", data, AWS_EXAMPLE))


def documents(made: dict[str, Any]) -> dict[str, Any]:
    """Outputs with every policy's JSON read."""
    return {
        name: {key: json.loads(text) for key, text in value.items()}
        if name.endswith("_policies")
        else value
        for name, value in made.items()
    }


@pytest.fixture(scope="session")
def mirror(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A plugin mirror that holds this provider, as an installation would have it."""
    folder = tmp_path_factory.mktemp("mirror")
    machine = {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine(), platform.machine())
    installed = Path(sys.executable).with_name("terraform-provider-strongroom")
    for registry in terraform_cli.REGISTRIES:
        version = folder / registry / "strongroom" / "strongroom" / "0.1.0"
        target = version / f"{platform.system().lower()}_{machine}"
        target.mkdir(parents=True)
        shutil.copy(installed, target / "terraform-provider-strongroom_v0.1.0")
    return folder


@dataclass(frozen=True)
class Stack:
    """An embedded stack in a state folder, and the command on it."""

    command: str
    state: Path

    def __call__(self, *arguments: str) -> Any:
        """What a command prints as JSON; fails the test where it fails."""
        line = [self.command, *arguments, "--json", "--state", str(self.state)]
        done = subprocess.run(line, check=False, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
        return json.loads(done.stdout.splitlines()[-1])


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """The state folder; whoever needs servers starts them."""
    command = os.environ.get("STRONGROOM_COMMAND")
    if command is None:
        pytest.fail("set STRONGROOM_COMMAND to the strongroom command; make test-terraform does")
    found = Stack(command, tmp_path_factory.mktemp("stack") / "state")
    yield found
    if found.state.exists():
        found("stack", "down")


@pytest.fixture(scope="session")
def rows(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The main example's rows, few of them held out, so that scoring them is quick."""
    folder = tmp_path_factory.mktemp("rows")
    python = Path(stack.command).with_name("python")
    command = [python, "-m", "strongroom.examples.prepare", "feedback", str(folder)]
    subprocess.run(command, check=True, cwd=ROOT)
    held_out = folder / "held_out.jsonl"
    held_out.write_text("".join(held_out.read_text().splitlines(keepends=True)[:12]))
    return folder
