"""`make lint` refuses any way to print but ``pipeline.cli.console``."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
OTHER_WAYS = [
    "print('x')",
    "import pprint; pprint.pprint('x')",
    "import sys; sys.stdout.write('x')",
    "import sys; sys.stderr.write('x')",
    "import sys; sys.__stdout__.write('x')",
    "from sys import stdout",
    "import sys; sys.stdout.buffer.write(b'x')",
    "import os; os.write(1, b'x')",
    "import rich; rich.print('x')",
    "from rich import print",
    "from rich.console import Console",
    "import rich.console as c; c.Console().print('x')",
    "import typer; typer.echo('x')",
    "from typer import secho",
    "import typer; typer.confirm('x')",
    "import click",
    "from click import echo",
    "import argparse",
    "import traceback; traceback.print_exc()",
    "import logging; logging.StreamHandler()",
    "import logging; logging.basicConfig()",
    "import warnings; warnings.warn('x')",
]


def lint(code: str, file: str) -> str:
    """What ruff says of ``code``, as if it were in ``file``."""
    command = [sys.executable, "-m", "ruff", "check", "--no-cache", "--output-format=concise"]
    return subprocess.run(
        [*command, "--stdin-filename", file, "-"],
        input=code + "\n",
        capture_output=True,
        text=True,
        cwd=ROOT,
    ).stdout


@pytest.mark.parametrize("code", OTHER_WAYS)
def test_another_way_fails_the_lint(code: str) -> None:
    said = lint(code, "pipeline/cli/runs/another.py")
    assert "TID251" in said or "T201" in said or "T203" in said, said


@pytest.mark.parametrize(
    "file", ["pipeline/run/x.py", "connectors/x.py", "audit/x.py", "errors/x.py", "crypto/x.py"]
)
def test_it_fails_everywhere(file: str) -> None:
    assert "TID251" in lint("import sys; sys.stdout.write('x')", file)


def test_the_one_way_passes() -> None:
    code = "from strongroom.pipeline.cli.console import out; out.say('x')"
    assert "TID251" not in lint(code, "pipeline/cli/runs/another.py")
    assert "TID251" not in lint("import sys; sys.stdout.write('x')", "pipeline/cli/console.py")
