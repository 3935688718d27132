"""Killed runs: whatever dies and whenever, ``resume`` ends with the same adapter, to the byte."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from strongroom.audit.events import types as events
from strongroom.audit.log.verify import COMPLETE
from strongroom.pipeline.embedded import stack

STEPS = 6
# Slow enough that a test can see each moment go by; as good for the digest as any other.
EVALUATOR = """
import time
def evaluate(messages, ground_truth, id):
    time.sleep(0.3 if int(id[4:]) >= 100 else 0.05)
    text = messages[-1]["content"]
    return {"score": len(set(text)) / (len(text) + 1.0), "accuracy": 0.0}
"""


@dataclass(frozen=True)
class Process:
    """One process as /proc tells it."""

    pid: int
    parent: int
    started: str
    command: str

    def alive(self) -> bool:
        """Whether it, and not another with its id, still runs."""
        found = look(self.pid)
        return found is not None and found.started == self.started

    def kill(self) -> None:
        """End it without a word."""
        os.kill(self.pid, signal.SIGKILL)


def look(pid: int) -> Process | None:
    """The process ``pid``, unless it is gone or only waits to be reaped."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        command = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return None if stat[0] in "ZX" else Process(pid, int(stat[1]), stat[19], command)


def below(pid: int) -> list[Process]:
    """Every process that descends from ``pid``."""
    names = [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()]
    everybody = [process for process in map(look, names) if process is not None]
    family = {pid}
    while True:
        more = {process.pid for process in everybody if process.parent in family} - family
        if not more:
            return [process for process in everybody if process.pid in family - {pid}]
        family |= more


def enclave_of(controller: int) -> Process | None:
    """The enclave: the child of a broker. Its own child is the evaluator."""
    family = below(controller)
    brokers = {process.pid for process in family if "broker_process" in process.command}
    return next((process for process in family if process.parent in brokers), None)


def broker_of(controller: int, *, data: bool) -> Process:
    """The data broker, which has the enclave; or the log broker, which has no child."""
    enclave = enclave_of(controller)
    assert enclave is not None
    brokers = [process for process in below(controller) if "broker_process" in process.command]
    [found] = [process for process in brokers if (process.pid == enclave.parent) is data]
    return found


@contextmanager
def started(process: subprocess.Popen[str], until: Callable[..., None]) -> Iterator[int]:
    """A command under way; afterwards nothing of its process tree may be left."""
    try:
        yield process.pid
    finally:
        family = below(process.pid)
        process.kill()
        process.communicate()
    until(lambda: not [each for each in family if each.alive()], 10)


@pytest.fixture(scope="module")
def run_file(small_job: Any) -> Path:
    path: Path = small_job.run_file("resume", evaluator=EVALUATOR, steps=STEPS, checkpoint_every=2)
    return path


@pytest.fixture(scope="module")
def whole(strongroom: Any, run_file: Path) -> Any:
    """A run that nobody interrupts."""
    result = strongroom("run", run_file, "--id", "resume-whole")
    assert result.code == 0, result.out
    return result.data


def wrote(auditor: Any, run: str, name: str) -> Callable[[], bool]:
    """Whether the run has written this object."""
    return lambda: name in auditor.names(run)


# After which object to kill, which one must not be there yet, and which steps the log may hold:
# an object is there a moment before the log says so.
MOMENTS = {
    "verifying": ("keys.json", "checkpoints/000002/manifest.json", (0,)),
    "training": ("checkpoints/000002/manifest.json", "checkpoints/000006/manifest.json", (0, 2)),
    "trained": ("checkpoints/000006/manifest.json", "result.json", (4, 6)),
}


@pytest.mark.parametrize("moment", MOMENTS)
def test_a_killed_run_resumes_to_the_same_adapter(
    strongroom: Any, auditor: Any, until: Any, run_file: Path, whole: Any, moment: str
) -> None:
    run = f"resume-{moment}"
    there, not_yet, steps = MOMENTS[moment]
    with started(strongroom.start("run", run_file, "--id", run), until) as controller:
        until(wrote(auditor, run, there))
        os.kill(controller, signal.SIGKILL)
        assert not_yet not in auditor.names(run)
    left = strongroom("verify", run)
    assert left.code == 1, left.out
    assert [check["name"] for check in left.data["checks"] if not check["ok"]] == [COMPLETE]
    assert set(auditor.of(run)) <= {check["object"] for check in left.data["checks"]}
    resumed = strongroom("resume", run)
    assert resumed.code == 0, resumed.out
    assert "Traceback" not in resumed.err
    assert resumed.data["adapter_sha256"] == whole["adapter_sha256"]
    assert resumed.data["evaluation"] == whole["evaluation"]
    [taken_up] = [
        event.data for event in auditor.events(run) if isinstance(event.data, events.RunResumed)
    ]
    assert taken_up.step in steps
    assert auditor.types(run)[-1] == "run.completed"
    twin = {uri.replace("resume-whole", run) for uri in auditor.of("resume-whole")}
    assert set(auditor.of(run)) == twin


def test_whoever_dies_the_run_says_so_and_goes_on(
    strongroom: Any, auditor: Any, small_job: Any, until: Any, run_file: Path, whole: Any
) -> None:
    """Enclave, data broker, log broker, releaser: killed one after the other in one run."""
    run = "resume-battered"

    def fails(command: tuple[str | Path, ...], kill: Callable[[int], object]) -> Any:
        process = strongroom.start(*command)
        family: list[Process] = []
        try:
            until(lambda: enclave_of(process.pid) is not None)
            kill(process.pid)
            family = below(process.pid)
            result = strongroom.ended(process)
        finally:
            process.kill()
        until(lambda: not [each for each in family if each.alive()], 10)
        [error] = result.errors
        assert "resume RUN" in error["remedy"]
        return result

    def kill_enclave(controller: int) -> None:
        until(wrote(auditor, run, "checkpoints/000002/manifest.json"))
        found = enclave_of(controller)
        assert found is not None
        found.kill()

    def kill_data_broker(controller: int) -> None:
        until(wrote(auditor, run, "checkpoints/000004/manifest.json"))
        broker_of(controller, data=True).kill()

    def kill_log_broker(controller: int) -> None:
        until(wrote(auditor, run, "checkpoints/000006/manifest.json"))
        broker_of(controller, data=False).kill()

    def kill_releaser(_controller: int) -> None:
        [row] = [row for row in strongroom("stack", "status").data if row["name"] == "releaser"]
        assert row["running"]
        process = stack._releaser_process(small_job.stack.state)
        assert process is not None
        os.kill(process.pid, signal.SIGKILL)

    first = fails(("run", run_file, "--id", run), kill_enclave)
    assert (first.code, first.codes) == (1, ["SR-CHANNEL-003"])
    assert first.errors[0]["actual"] == "SIGKILL"
    assert auditor.types(run)[-1] == "run.failed"
    second = fails(("resume", run), kill_data_broker)
    assert (second.code, second.codes) == (1, ["SR-PROC-001"])
    assert auditor.types(run)[-1] == "run.failed"
    third = fails(("resume", run), kill_log_broker)
    assert (third.code, third.codes) == (1, ["SR-PROC-001"])
    try:
        fourth = fails(("resume", run), kill_releaser)
        assert (fourth.code, fourth.codes) == (4, ["SR-RELEASE-001"])
        refused = strongroom("resume", run)
        assert (refused.code, refused.codes) == (4, ["SR-RELEASE-001"])
    finally:
        assert strongroom("stack", "up").code == 0
    last = strongroom("resume", run)
    assert last.code == 0, last.out
    assert last.data["adapter_sha256"] == whole["adapter_sha256"]
    assert strongroom("verify", run).data["verified"] is True


def test_a_second_run_with_the_id_of_another_changes_nothing(
    strongroom: Any, auditor: Any, small_job: Any, whole: Any
) -> None:
    run = "resume-whole"
    other = small_job.run_file("other", steps=1)
    registered = small_job.stack.state / "runs" / f"{run}.json"
    before = (auditor.of(run), auditor.types(run), registered.read_bytes())
    result = strongroom("run", other, "--id", run)
    assert (result.code, result.codes) == (2, ["SR-RUN-202"])
    assert result.errors[0]["place"] == f"s3://acme-data/runs/{run}/plan.json"
    assert (auditor.of(run), auditor.types(run), registered.read_bytes()) == before


def test_a_finished_run_is_not_resumed(strongroom: Any, auditor: Any, whole: Any) -> None:
    before = auditor.types("resume-whole")
    result = strongroom("resume", "resume-whole")
    assert (result.code, result.codes) == (2, ["SR-RUN-204"])
    assert auditor.types("resume-whole") == before


def test_a_run_that_nobody_knows_is_not_resumed(strongroom: Any) -> None:
    result = strongroom("resume", "resume-nobody")
    assert (result.code, result.codes) == (2, ["SR-RUN-203"])
