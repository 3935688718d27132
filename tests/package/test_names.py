"""Other projects' modules beside Strongroom: neither gets in the other's way."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

FOREIGN = (
    "errors.py",
    "trainer/config.py",
    "pipeline/cli.py",
    "pipeline/plan.py",
    "audit/log.py",
    "connectors/stack.py",
    "crypto/digests.py",
    "enclave/measurement.py",
    "policies/gate.py",
)
"""Names that repositories for reinforcement learning have, which are run with ``PYTHONPATH=.``."""


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project of somebody's own, in which importing any module ends the process."""
    folder = tmp_path_factory.mktemp("project")
    for name in FOREIGN:
        file = folder / name
        file.parent.mkdir(exist_ok=True)
        file.write_text("raise SystemExit('imported')\n")
        if file.parent != folder:
            (file.parent / "__init__.py").write_text("raise SystemExit('imported')\n")
    return folder


def run_in(project: Path, *command: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(project)}
    return subprocess.run(command, cwd=project, env=environment, capture_output=True, text=True)


STARTS = {
    "module": [sys.executable, "-m", "strongroom"],
    "script": [str(Path(sys.executable).parent / "strongroom")],
}


@pytest.mark.parametrize("start", STARTS)
@pytest.mark.parametrize(
    ("command", "code"),
    [
        (["status", "--state", "{state}"], None),
        # It compiles all libraries anew.
        pytest.param(["releaser", "measure"], None, marks=pytest.mark.full),
        (["policy", "show", "{state}"], "SR-POLICY-003"),
        (["run", "run.yaml", "--state", "{state}"], "SR-RUN-001"),
        (["wait", "nobody-1", "--state", "{state}"], "SR-RUN-203"),
    ],
)
def test_no_command_takes_a_projects_module_for_its_own(start, command, code, project, tmp_path):
    words = [word.format(state=tmp_path) for word in command]
    done = run_in(project, *STARTS[start], *words, "--json")
    assert "imported" not in done.stdout + done.stderr
    found = json.loads(done.stdout)
    if code is None:
        assert done.returncode == 0
    else:
        assert [error["code"] for error in found["errors"]] == [code]


def test_the_projects_own_modules_are_found_there(project):
    """The control: they do come first."""
    done = run_in(project, sys.executable, "-c", "import trainer")
    assert "imported" in done.stderr


def test_strongroom_takes_no_name_but_its_own(tmp_path):
    names = sorted({name.partition("/")[0].removesuffix(".py") for name in FOREIGN})
    code = f"import importlib.util as u; print(*(n for n in {names} if u.find_spec(n)))"
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert (done.returncode, done.stdout.strip()) == (0, "")
