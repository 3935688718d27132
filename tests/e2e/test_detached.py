"""Runs without a terminal, on the real stack: submitted, killed, cancelled, gone on with.

Three runs of one run file. The first is left in peace; whatever happens to the others, they have to
end with its adapter, to the byte.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from strongroom.audit.events import types as events
from strongroom.connectors.host.processes import Process, identify
from strongroom.pipeline.background import run_locks

WHOLE, KILLED, CANCELLED = "detached-whole", "detached-killed", "detached-cancelled"
CANARY = "heliotrope-quagmire-4417"
EVALUATOR = """
import time
def evaluate(messages, ground_truth, id):
    time.sleep(0.3 if int(id[4:]) >= 100 else 0.05)
    text = messages[-1]["content"]
    return {"score": len(set(text)) / (len(text) + 1.0), "accuracy": 0.0}
"""


@pytest.fixture(scope="module")
def run_file(small_job: Any) -> Path:
    path: Path = small_job.run_file("detached", evaluator=EVALUATOR, steps=6, checkpoint_every=2)
    return path


@pytest.fixture
def state(small_job: Any) -> Iterator[Path]:
    """The state folder; no run is left behind, whatever a test came to."""
    found: Path = small_job.stack.state
    yield found
    for run in (WHOLE, KILLED, CANCELLED):
        run_locks.end_holders(found, run)


def wrote(auditor: Any, run: str, name: str) -> Callable[[], bool]:
    return lambda: name in auditor.names(run)


def pid(state: Path, run: str, role: Any) -> int:
    process = run_locks.holder(state, run, role)
    return process.pid if process else 0


def count(auditor: Any, run: str, name: str) -> int:
    return int(auditor.types(run).count(name))


def row_of(strongroom: Any, run: str) -> dict[str, Any]:
    [row] = strongroom("status", run).data
    return dict(row)


@contextlib.contextmanager
def stopped(pids: list[int]) -> Iterator[None]:
    """These processes stand still meanwhile."""
    for each in pids:
        os.kill(each, signal.SIGSTOP)
    try:
        yield
    finally:
        for each in pids:
            os.kill(each, signal.SIGCONT)


def pending(process: int, number: signal.Signals) -> bool:
    """Whether a signal waits for a process that stands still."""
    status = Path(f"/proc/{process}/status").read_text()
    [mask] = [line.split()[1] for line in status.splitlines() if line.startswith("ShdPnd:")]
    return bool(int(mask, 16) >> (number - 1) & 1)


@pytest.fixture(scope="module")
def whole(strongroom: Any, small_job: Any, run_file: Path, until: Any) -> dict[str, Any]:
    """A detached run that nobody disturbs, looked at while it runs; where it stands at its end."""
    state = small_job.stack.state
    first = strongroom("run", run_file, "--detach", "--id", WHOLE, environment={"TOKEN": CANARY})
    assert (first.code, first.data) == (0, {"run": WHOLE, "state": "submitted"})
    supervisor = pid(state, WHOLE, "supervisor")
    assert supervisor
    try:
        until(lambda: pid(state, WHOLE, "controller"))
        controller = pid(state, WHOLE, "controller")
        with stopped([controller]):  # a run that stands still is one that goes on
            # Again, it is the same run; with another file, another one's. Nobody else may drive it.
            again = strongroom("run", run_file, "--detach", "--id", WHOLE)
            assert (again.code, again.data) == (0, {"run": WHOLE, "state": "running"})
            assert pid(state, WHOLE, "supervisor") == supervisor
            late = strongroom("wait", WHOLE, "--timeout", "0")
            assert (late.code, late.codes) == (1, ["SR-RUN-220"])
            other = small_job.run_file("detached-other", steps=1)
            refused = strongroom("run", other, "--detach", "--id", WHOLE)
            assert (refused.code, refused.codes) == (2, ["SR-RUN-202"])
            busy = strongroom("resume", WHOLE)
            assert (busy.code, busy.codes) == (2, ["SR-RUN-216"])
            row = row_of(strongroom, WHOLE)
            assert row["state"] in ("submitted", "running")
            assert row["supervised"] is True
            assert row["adapter_sha256"] is None
            # In a session of its own, told a run's id and nothing else.
            assert os.getsid(supervisor) == supervisor
            told = Path(f"/proc/{supervisor}/cmdline").read_bytes().split(b"\0")[-3:-1]
            assert told == [str(state).encode(), WHOLE.encode()]
            for process in (supervisor, controller):
                assert CANARY.encode() not in Path(f"/proc/{process}/environ").read_bytes()
        done = strongroom("wait", WHOLE)
        assert done.code == 0, done.out
    finally:
        run_locks.end_holders(state, WHOLE)
    return dict(done.data)


def test_a_detached_run_completes_and_is_told(
    strongroom: Any, auditor: Any, state: Path, whole: dict[str, Any], run_file: Path
) -> None:
    assert whole["state"] == "completed"
    assert (whole["supervised"], whole["code"], whole["reason"]) == (False, None, None)
    assert set(whole["metrics"]) == {"before", "after"}
    assert whole["outputs"] == f"s3://acme-data/runs/{WHOLE}/"
    data = [event.data for event in auditor.events(WHOLE)]
    [admitted] = [item for item in data if isinstance(item, events.RunAdmitted)]
    [completed] = [item for item in data if isinstance(item, events.RunCompleted)]
    assert (whole["plan"], whole["adapter_sha256"]) == (admitted.plan, completed.adapter)
    assert whole["log"]["origin"] == "acme-audit/strongroom"
    assert whole["log"]["size"] <= len(auditor.every_event())
    assert len(bytes.fromhex(whole["log"]["root"])) == 32
    log = run_locks.file_of(state, WHOLE, "log")
    assert log.stat().st_mode & 0o777 == 0o600
    assert "Traceback" not in log.read_text()
    # Once more it is neither run nor resumed, and cannot be cancelled.
    before = auditor.types(WHOLE)
    finished = strongroom("run", run_file, "--detach", "--id", WHOLE)
    assert (finished.code, finished.data["state"]) == (0, "completed")
    assert not run_locks.held(state, WHOLE)
    told = strongroom("run", run_file, "--id", WHOLE, "--resume")
    assert (told.code, told.data["adapter_sha256"]) == (0, whole["adapter_sha256"])
    cancelled = strongroom("cancel", WHOLE)
    assert (cancelled.code, cancelled.codes) == (2, ["SR-RUN-217"])
    assert auditor.types(WHOLE) == before


def test_whatever_is_killed_the_supervisor_goes_on(
    strongroom: Any, auditor: Any, until: Any, state: Path, run_file: Path, whole: dict[str, Any]
) -> None:
    """The terminal, then a broker, then the controller."""
    words = strongroom._command("run", run_file, "--detach", "--id", KILLED)
    with subprocess.Popen(
        ["sh", "-c", '"$@"; exec sleep 300', "sh", *words],
        stdout=subprocess.DEVNULL,
        start_new_session=True,
        # Under nohup it would outlive its end.
        preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_DFL),
    ) as terminal:
        try:
            until(lambda: pid(state, KILLED, "supervisor"))
            until(lambda: Path(f"/proc/{terminal.pid}/comm").read_text() == "sleep\n")
        finally:
            os.killpg(terminal.pid, signal.SIGHUP)
    assert terminal.returncode == -signal.SIGHUP, "the control: the terminal is gone"
    supervisor = pid(state, KILLED, "supervisor")
    assert supervisor

    until(wrote(auditor, KILLED, "checkpoints/000002/manifest.json"), 100)
    first = pid(state, KILLED, "controller")
    os.kill(broker_of(first), signal.SIGKILL)
    until(lambda: pid(state, KILLED, "controller") not in (0, first), 60)

    until(wrote(auditor, KILLED, "checkpoints/000004/manifest.json"), 100)
    second = pid(state, KILLED, "controller")
    os.kill(second, signal.SIGKILL)
    until(lambda: pid(state, KILLED, "controller") not in (0, second), 60)
    assert pid(state, KILLED, "supervisor") == supervisor
    assert row_of(strongroom, KILLED)["state"] in ("submitted", "running")

    done = strongroom("wait", KILLED)
    assert done.code == 0, done.out
    assert done.data["adapter_sha256"] == whole["adapter_sha256"]
    assert done.data["metrics"] == whole["metrics"]
    assert count(auditor, KILLED, "run.resumed") == 2
    assert strongroom("verify", KILLED).code == 0


def broker_of(controller: int) -> int:
    """The data broker: the child that has a child, the enclave."""
    for child in children(controller):
        if children(child):
            return child
    raise AssertionError("no broker with an enclave")


def children(parent: int) -> list[int]:
    found: list[int] = []
    for entry in Path("/proc").iterdir():
        with contextlib.suppress(OSError, ValueError):
            stat = (entry / "stat").read_text().rpartition(")")[2].split()
            if int(stat[1]) == parent and stat[0] not in "ZX":
                found.append(int(entry.name))
    return found


def family(parent: int) -> list[Process]:
    """Whoever descends from a process."""
    found = [process for child in children(parent) if (process := identify(child))]
    return found + [each for process in found for each in family(process.pid)]


def alive(processes: list[Process]) -> list[Process]:
    return [process for process in processes if process.alive()]


@pytest.fixture(scope="module")
def cancelled(
    strongroom: Any, small_job: Any, auditor: Any, until: Any, run_file: Path
) -> Iterator[str]:
    """A run in a foreground process, cancelled after its first checkpoint."""
    state = small_job.stack.state
    foreground = strongroom.start("run", run_file, "--id", CANCELLED)
    until(wrote(auditor, CANCELLED, "checkpoints/000002/manifest.json"), 100)
    processes = family(foreground.pid)
    assert len(processes) >= 4, "two brokers, enclave, evaluator"
    # Everybody stands still until the word has come, or the run might be over before it.
    with stopped([foreground.pid, *(process.pid for process in processes)]):
        cancelling = strongroom.start("cancel", CANCELLED)
        until(lambda: pending(foreground.pid, signal.SIGTERM), 30)
    done = strongroom.ended(cancelling, 60)
    ended = strongroom.ended(foreground, 20)
    until(lambda: not alive(processes), 10)
    assert (done.code, done.data) == (0, {"run": CANCELLED, "state": "cancelled"}), done.out
    assert ended.code == 1
    assert "Traceback" not in ended.out + ended.err
    assert not run_locks.held(state, CANCELLED)
    yield CANCELLED
    run_locks.end_holders(state, CANCELLED)


def test_a_cancelled_run_is_told_and_verifies(
    strongroom: Any, auditor: Any, cancelled: str, tmp_path: Path
) -> None:
    row = row_of(strongroom, cancelled)
    assert (row["state"], row["code"], row["supervised"]) == ("cancelled", "SR-RUN-219", False)
    waited = strongroom("wait", cancelled)
    assert (waited.code, waited.codes) == (1, ["SR-RUN-219"])
    assert strongroom("cancel", cancelled).code == 0
    assert count(auditor, cancelled, "run.cancelled") == 1
    [said] = [e for e in auditor.events(cancelled) if isinstance(e.data, events.RunCancelled)]
    assert said.actor == "owner"
    assert said.data.step == count(auditor, cancelled, "training.step")

    verified = strongroom("verify", cancelled)
    assert verified.code == 0, verified.out
    looked_at = {check["object"] for check in verified.data["checks"]}
    assert set(auditor.of(cancelled)) <= looked_at, "everything that is there is checked"
    stray = f"s3://acme-data/runs/{cancelled}/checkpoints/000006/adapter.sealed"
    auditor.put(stray, b"planted")
    planted = strongroom("verify", cancelled)
    # The version itself: under a delete marker the run's own object would not be seen later.
    where = {"Bucket": "acme-data", "Key": stray.removeprefix("s3://acme-data/")}
    version = auditor.client.head_object(**where)["VersionId"]
    auditor.client.delete_object(**where, VersionId=version)
    assert planted.code == 5
    assert [c["object"] for c in planted.data["checks"] if not c["ok"]] == [stray]
    page = tmp_path / "report.html"
    assert strongroom("report", cancelled, "--to", page).code == 0
    assert "cancelled" in page.read_text()


def test_a_cancelled_run_is_gone_on_with(
    strongroom: Any,
    auditor: Any,
    until: Any,
    state: Path,
    run_file: Path,
    whole: dict[str, Any],
    cancelled: str,
) -> None:
    """Detached; there its supervisor is killed, and it is gone on with once more."""
    again = strongroom("run", run_file, "--detach", "--id", cancelled)
    assert again.data["state"] == "submitted"
    until(lambda: count(auditor, cancelled, "run.resumed") == 1, 60)
    processes = family(pid(state, cancelled, "supervisor"))
    assert len(processes) >= 3, "a controller and two brokers at least"
    os.kill(pid(state, cancelled, "supervisor"), signal.SIGKILL)
    until(lambda: not alive(processes) and not run_locks.held(state, cancelled), 20)
    left = strongroom("wait", cancelled)
    assert (left.code, left.codes) == (1, ["SR-RUN-218"])
    assert row_of(strongroom, cancelled)["state"] == "interrupted"

    again = strongroom("run", run_file, "--detach", "--id", cancelled)
    assert again.data["state"] == "submitted"
    last = strongroom("wait", cancelled)
    assert last.code == 0, last.out
    assert last.data["adapter_sha256"] == whole["adapter_sha256"]
    assert strongroom("verify", cancelled).code == 0


def test_what_cannot_begin_is_told_to_whoever_waits(
    strongroom: Any, small_job: Any, auditor: Any
) -> None:
    """A denial and a missing dataset: with the exit codes and places of a run in the foreground."""
    unsafe = small_job.run_file("detached-unsafe", assurance="A0")
    missing = small_job.run_file("detached-missing", train="s3://acme-data/datasets/none/")
    for run, path in (("detached-denied", unsafe), ("detached-without", missing)):
        assert strongroom("run", path, "--detach", "--id", run).data["state"] == "submitted"
    denied = strongroom("wait", "detached-denied")
    assert (denied.code, set(denied.codes)) == (3, {"SR-POLICY-001"})
    assert denied.errors[0]["place"].startswith("detached-unsafe.yaml:")
    row = row_of(strongroom, "detached-denied")
    assert (row["state"], row["code"]) == ("denied", "SR-POLICY-001")
    assert "assurance_is_enough" in row["reason"]
    absent = strongroom("wait", "detached-without")
    assert (absent.code, absent.codes) == (2, ["SR-RUN-205"])
    row = row_of(strongroom, "detached-without")
    assert (row["state"], row["code"], row["plan"]) == ("failed", "SR-RUN-205", None)
    assert set(auditor.types("detached-without")) == {"lease.issued", "run.failed"}
