"""checkov finds nothing but the listed exceptions, and each exception is still needed.

It runs as a program of its own, CHECKOV or the one beside this Python, since other versions of it
need other packages.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from examples_values import MODULES

EXCEPTIONS = json.loads((Path(__file__).parent / "checkov_exceptions.json").read_text())


def _program() -> str | None:
    beside = Path(sys.executable).with_name("checkov")
    return os.environ.get("CHECKOV") or (str(beside) if beside.is_file() else None)


@pytest.mark.skipif(_program() is None, reason="checkov is not installed and CHECKOV names none")
@pytest.mark.parametrize("module", ["aws", "gcp", "vault"])
def test_checkov_finds_only_the_listed_exceptions(module, tmp_path):
    done = subprocess.run(
        [str(_program()), "--directory", str(MODULES / module), "--framework", "terraform",
         "--skip-download", "--output", "json", "--quiet", "--compact"],
        cwd=tmp_path, capture_output=True, text=True, timeout=280,
        env={**os.environ, "HOME": str(tmp_path)},
    )  # fmt: skip
    found = json.loads(done.stdout)
    results = found.get("results", {"failed_checks": [], "parsing_errors": []})
    assert results.get("parsing_errors", []) == []
    failed = {
        (check["check_id"], _resource(check["resource"])) for check in results["failed_checks"]
    }
    listed = {
        (entry["check"], resource)
        for entry in EXCEPTIONS
        for resource in entry["resources"]
        if entry["module"] == module
    }
    assert failed == listed, f"not listed: {failed - listed}; not needed: {listed - failed}"


def test_every_exception_says_why():
    for entry in EXCEPTIONS:
        assert len(entry["reason"]) > 30, entry["check"]


def _resource(name: str) -> str:
    """An address without the module's and the instance's part."""
    return ".".join(part.partition("[")[0] for part in name.split(".")[-2:])
