"""Invariants 10 and 11, with real processes and SIGKILL: a killed run resumes to the same bits."""

from __future__ import annotations

import hashlib
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.forks import Forks

PROGRAM = "support.programs.killed_training"
LAST = 9
# After which checkpoint each moment falls: it must have been where it says.
MOMENTS = {"mid_generation": {3}, "mid_save": {3}, "epoch_boundary": {3}, "end_of_epoch": set()}


@pytest.fixture(scope="module")
def training() -> Iterator[Forks]:
    with Forks(PROGRAM) as forks:
        yield forks


def digests(folder: Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir()}


def checkpoints(folder: Path) -> set[int]:
    return {int(path.name.split(".")[0]) for path in folder.glob("*.manifest")}


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    folder = tmp_path_factory.mktemp("whole")
    with Forks(PROGRAM) as other:  # in which Python's hashes are others
        assert other.run(str(folder), 1) == 0
    assert checkpoints(folder) == {3, 6, LAST}
    return digests(folder)


@pytest.mark.parametrize("moment", MOMENTS)
def test_a_run_killed_anywhere_resumes_to_the_same_bytes(
    tmp_path: Path, training: Forks, whole: dict[str, str], moment: str
) -> None:
    assert training.run(str(tmp_path), 1, moment) == -signal.SIGKILL
    assert checkpoints(tmp_path) == MOMENTS[moment]
    if moment == "mid_save":
        torn = digests(tmp_path)["6.state"]
        assert torn != whole["6.state"]
    assert training.run(str(tmp_path), 1) == 0
    assert digests(tmp_path) == whole


def test_one_thread_and_two_give_the_same_bytes(
    tmp_path: Path, training: Forks, whole: dict[str, str]
) -> None:
    assert training.run(str(tmp_path), 2) == 0
    assert digests(tmp_path) == whole
