"""The main job, the command line and the auditor on the lone stack."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from strongroom.pipeline.background import registry
from strongroom.pipeline.broker.reading import ReadAccess
from support.auditor import CHECKPOINT, Auditor, Copy
from support.command import Strongroom
from support.small_job import SmallJob

MAIN_JOB = "main-job"


@pytest.fixture(scope="session")
def strongroom(lone_job: SmallJob) -> Strongroom:
    """The command line."""
    return Strongroom(lone_job.stack.state)


@pytest.fixture(scope="session")
def auditor(lone_job: SmallJob) -> Auditor:
    """Who may look at everything."""
    return Auditor(lone_job.stack)


@dataclass(frozen=True)
class MainJob:
    """The main job at reduced size, run to its end."""

    run: str
    result: Any
    """What the command printed."""
    logged: frozenset[str]
    """The objects of the log that were written meanwhile, by URI; its checkpoint is one."""


@pytest.fixture(scope="session")
def main_run_file(lone_job: SmallJob) -> Path:
    """The main job's run file."""
    path: Path = lone_job.run_file(MAIN_JOB)
    return path


@pytest.fixture(scope="session")
def main_plan(strongroom: Strongroom, main_run_file: Path) -> Any:
    """What ``plan`` says of the main job before anything has run."""
    return strongroom("plan", main_run_file, "--id", MAIN_JOB).data


@pytest.fixture(scope="session")
def main_job(
    strongroom: Strongroom, auditor: Auditor, main_run_file: Path, main_plan: Any
) -> MainJob:
    """The main job; for tests that leave it as they found it."""
    before = auditor.objects("strongroom/", "acme-audit").keys() - {CHECKPOINT}
    result = strongroom("run", main_run_file, "--id", MAIN_JOB)
    assert result.code == 0, result.out + result.err
    assert "Traceback" not in result.err
    after = auditor.objects("strongroom/", "acme-audit")
    return MainJob(MAIN_JOB, result.data, frozenset(after.keys() - before))


@pytest.fixture(scope="module")
def copy(main_job: MainJob, lone_job: SmallJob) -> Copy:
    """The main job, its log and its inputs in memory; for tests that put back what they change.

    Of this moment: between modules other runs write into the log.
    """
    spec = registry.recall(lone_job.stack.state, main_job.run)
    return Copy.of(ReadAccess(spec, main_job.run))
