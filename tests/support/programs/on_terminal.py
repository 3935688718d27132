"""The command on a terminal that somebody else looks at, with some changes made to it before.

For ``support.forks``: everything that commands import is imported once.
"""

from __future__ import annotations

import os
import sys

from strongroom.pipeline.background import submit  # noqa: F401
from strongroom.pipeline.cli import main as command
from strongroom.pipeline.cli.machine import main_job  # noqa: F401
from strongroom.pipeline.cli.main import Unloaded, app  # noqa: F401
from strongroom.pipeline.cli.table import COMMANDS, Command
from strongroom.pipeline.inspection import denials, verify  # noqa: F401

for name, row in COMMANDS.items():
    for each in [row] if isinstance(row, Command) else row.commands.values():
        Unloaded(name, each).load()


def main(terminal: str, environment: dict[str, str], before: str, *arguments: str) -> None:
    """Run the command on the terminal of this path; ends as it does."""
    for descriptor in range(3):
        os.dup2(os.open(terminal, os.O_RDWR | os.O_NOCTTY), descriptor)
    os.environ.clear()
    os.environ.update(environment)
    sys.argv = ["strongroom", *arguments]
    code: object = 1
    try:
        exec(before, {})
        command.main()
    except SystemExit as end:
        code = end.code
    sys.stdout.flush()
    os._exit(code if isinstance(code, int) else 1)
