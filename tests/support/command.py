"""The ``strongroom`` command as a person runs it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Result:
    """How one command ended."""

    code: int
    out: str
    err: str

    @property
    def data(self) -> Any:
        """The JSON document that the command printed last."""
        return json.loads(self.out.splitlines()[-1])

    @property
    def errors(self) -> list[dict[str, str]]:
        """The errors of a failed ``--json`` command, which must be fit to show to anybody."""
        assert "Traceback" not in self.out + self.err
        found: list[dict[str, str]] = self.data["errors"]
        for error in found:
            assert error["code"].startswith("SR-"), error
            assert error["code"] != "SR-PROC-002", f"a defect, not an error: {error}"
            assert error["remedy"], error
        return found

    @property
    def codes(self) -> list[str]:
        """The codes of those errors, in order."""
        return [error["code"] for error in self.errors]


class Strongroom:
    """The command, with the state folder of the tests' stack."""

    def __init__(self, state: Path) -> None:
        self.state = state

    def __call__(
        self, *arguments: str | Path, environment: Mapping[str, str] | None = None
    ) -> Result:
        """Run a command to its end, with ``--json``."""
        done = subprocess.run(
            self._command(*arguments),
            capture_output=True,
            text=True,
            env={**os.environ, **(environment or {})},
        )
        return Result(done.returncode, done.stdout, done.stderr)

    def start(self, *arguments: str | Path) -> subprocess.Popen[str]:
        """Start a command and return at once."""
        return subprocess.Popen(
            self._command(*arguments), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )

    def ended(self, process: subprocess.Popen[str]) -> Result:
        """How a started command ended; waits for it."""
        out, err = process.communicate()
        return Result(process.returncode, out, err)

    def status(self, run: str) -> dict[str, Any]:
        """Where a run stands."""
        [row] = self("status", run).data
        return dict(row)

    def red(self, run: str) -> list[str]:
        """The controls that fail in the report of a run."""
        found: dict[str, str] = self("report", run).data["controls"]
        return [control for control, verdict in found.items() if verdict == "fail"]

    def _command(self, *arguments: str | Path) -> list[str]:
        words = [str(argument) for argument in arguments]
        command = [sys.executable, "-m", "strongroom", *words]
        return [*command, "--state", str(self.state), "--json"]
