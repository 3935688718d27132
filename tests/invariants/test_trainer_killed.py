"""Invariants 10 and 11, with real processes and SIGKILL: a killed run resumes to the same bits."""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from support import PROGRAMS, PYTHONPATH

PROGRAM = PROGRAMS / "killed_training.py"
LAST = 9
# After which checkpoint each moment falls: it must have been where it says.
MOMENTS = {"mid_generation": {3}, "mid_save": {3}, "epoch_boundary": {3}, "end_of_epoch": set()}


def trained(folder: Path, *moment: str, threads: int = 1) -> int:
    """Train in ``folder``; how the process ended."""
    folder.mkdir(exist_ok=True)
    command = [sys.executable, str(PROGRAM), str(folder), str(threads), *moment]
    return subprocess.run(command, env=os.environ | PYTHONPATH).returncode


def digests(folder: Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir()}


def checkpoints(folder: Path) -> set[int]:
    return {int(path.name.split(".")[0]) for path in folder.glob("*.manifest")}


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    folder = tmp_path_factory.mktemp("whole")
    assert trained(folder) == 0
    assert checkpoints(folder) == {3, 6, LAST}
    return digests(folder)


@pytest.mark.parametrize("moment", MOMENTS)
def test_a_run_killed_anywhere_resumes_to_the_same_bytes(
    tmp_path: Path, whole: dict[str, str], moment: str
) -> None:
    assert trained(tmp_path, moment) == -signal.SIGKILL
    assert checkpoints(tmp_path) == MOMENTS[moment]
    if moment == "mid_save":
        torn = digests(tmp_path)["6.state"]
        assert torn != whole["6.state"]
    assert trained(tmp_path) == 0
    assert digests(tmp_path) == whole


def test_one_thread_and_two_give_the_same_bytes(tmp_path: Path, whole: dict[str, str]) -> None:
    assert trained(tmp_path, threads=2) == 0
    assert digests(tmp_path) == whole
