"""Runs without a terminal, on the real stack: submitted, killed, cancelled, gone on with.

Runs of the run file of ``whole``: whatever happens to them, they have to end with its adapter, to
the byte.
"""

from __future__ import annotations

import base64
import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from strongroom.audit.events import types as events
from strongroom.pipeline.background import run_locks
from support.family import alive, below, broker_of, holder, stopped

WHOLE, KILLED, CANCELLED = "whole", "detached-killed", "detached-cancelled"


@pytest.fixture
def state(small_job: Any) -> Iterator[Path]:
    """The state folder; no run is left behind, whatever a test came to."""
    found: Path = small_job.stack.state
    yield found
    for run in (WHOLE, KILLED, CANCELLED):
        run_locks.end_holders(found, run)


def count(auditor: Any, run: str, name: str) -> int:
    return int(auditor.types(run).count(name))


def pending(process: int, number: signal.Signals) -> bool:
    """Whether a signal waits for a process that stands still."""
    status = Path(f"/proc/{process}/status").read_text()
    [mask] = [line.split()[1] for line in status.splitlines() if line.startswith("ShdPnd:")]
    return bool(int(mask, 16) >> (number - 1) & 1)


def test_a_detached_run_completes_and_is_told(
    strongroom: Any, auditor: Any, state: Path, whole: dict[str, Any], slow_run_file: Path
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
    assert len(base64.b64decode(whole["log"]["root"], validate=True)) == 32
    log = run_locks.file_of(state, WHOLE, "log")
    assert log.stat().st_mode & 0o777 == 0o600
    assert "Traceback" not in log.read_text()
    # Once more it is neither run nor resumed, and cannot be cancelled.
    before = auditor.types(WHOLE)
    finished = strongroom("run", slow_run_file, "--detach", "--id", WHOLE)
    assert (finished.code, finished.data["state"]) == (0, "completed")
    assert not run_locks.held(state, WHOLE)
    told = strongroom("run", slow_run_file, "--id", WHOLE, "--resume")
    assert (told.code, told.data["adapter_sha256"]) == (0, whole["adapter_sha256"])
    cancelled = strongroom("cancel", WHOLE)
    assert (cancelled.code, cancelled.codes) == (2, ["SR-RUN-217"])
    assert auditor.types(WHOLE) == before


def test_whatever_is_killed_the_supervisor_goes_on(
    strongroom: Any,
    auditor: Any,
    until: Any,
    state: Path,
    slow_run_file: Path,
    whole: dict[str, Any],
) -> None:
    """The terminal, then a broker, then the controller."""
    words = strongroom._command("run", slow_run_file, "--detach", "--id", KILLED)
    with subprocess.Popen(
        ["sh", "-c", '"$@"; exec sleep 300', "sh", *words],
        stdout=subprocess.DEVNULL,
        start_new_session=True,
        # Under nohup it would outlive its end.
        preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_DFL),
    ) as terminal:
        try:
            until(lambda: holder(state, KILLED, "supervisor"))
            until(lambda: Path(f"/proc/{terminal.pid}/comm").read_text() == "sleep\n")
        finally:
            os.killpg(terminal.pid, signal.SIGHUP)
    assert terminal.returncode == -signal.SIGHUP, "the control: the terminal is gone"
    supervisor = holder(state, KILLED, "supervisor")
    assert supervisor

    until(auditor.wrote(KILLED, "checkpoints/000002/manifest.json"))
    first = holder(state, KILLED, "controller")
    broker_of(first, data=True).kill()
    until(lambda: holder(state, KILLED, "controller") not in (0, first))

    until(auditor.wrote(KILLED, "checkpoints/000004/manifest.json"))
    second = holder(state, KILLED, "controller")
    os.kill(second, signal.SIGKILL)
    until(lambda: holder(state, KILLED, "controller") not in (0, second))
    assert holder(state, KILLED, "supervisor") == supervisor
    assert strongroom.status(KILLED)["state"] in ("submitted", "running")

    done = strongroom("wait", KILLED)
    assert done.code == 0, done.out
    assert done.data["adapter_sha256"] == whole["adapter_sha256"]
    assert done.data["metrics"] == whole["metrics"]
    assert count(auditor, KILLED, "run.resumed") == 2
    assert strongroom("verify", KILLED).code == 0


@pytest.fixture(scope="module")
def cancelled(
    strongroom: Any, small_job: Any, auditor: Any, until: Any, slow_run_file: Path
) -> Iterator[str]:
    """A run in a foreground process, cancelled after its first checkpoint."""
    state = small_job.stack.state
    foreground = strongroom.start("run", slow_run_file, "--id", CANCELLED)
    until(auditor.wrote(CANCELLED, "checkpoints/000002/manifest.json"))
    processes = below(foreground.pid)
    assert len(processes) >= 4, "two brokers, enclave, evaluator"
    # Everybody stands still until the word has come, or the run might be over before it.
    with stopped([foreground.pid, *(process.pid for process in processes)]):
        cancelling = strongroom.start("cancel", CANCELLED)
        until(lambda: pending(foreground.pid, signal.SIGTERM))
    done = strongroom.ended(cancelling)
    ended = strongroom.ended(foreground)
    until(lambda: not alive(processes))
    assert (done.code, done.data) == (0, {"run": CANCELLED, "state": "cancelled"}), done.out
    assert ended.code == 1
    assert "Traceback" not in ended.out + ended.err
    assert not run_locks.held(state, CANCELLED)
    yield CANCELLED
    run_locks.end_holders(state, CANCELLED)


def test_a_cancelled_run_is_told_and_verifies(
    strongroom: Any, auditor: Any, cancelled: str, tmp_path: Path
) -> None:
    row = strongroom.status(cancelled)
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
    page = tmp_path / "report.html"
    reported = strongroom("report", cancelled, "--to", page)
    # The version itself: under a delete marker the run's own object would not be seen later.
    where = {"Bucket": "acme-data", "Key": stray.removeprefix("s3://acme-data/")}
    version = auditor.client.head_object(**where)["VersionId"]
    auditor.client.delete_object(**where, VersionId=version)
    assert planted.code == 5
    assert [c["object"] for c in planted.data["checks"] if not c["ok"]] == [stray]
    assert (reported.code, reported.data["verified"]) == (5, False)
    assert "NOT VERIFIED" in page.read_text()
    assert strongroom("report", cancelled, "--to", page).code == 0
    assert "NOT VERIFIED" not in page.read_text()
    assert "cancelled" in page.read_text()
    assert strongroom.red(cancelled) == []


@pytest.mark.full
def test_a_cancelled_run_is_gone_on_with(
    strongroom: Any,
    auditor: Any,
    until: Any,
    state: Path,
    slow_run_file: Path,
    whole: dict[str, Any],
    cancelled: str,
) -> None:
    """Detached; there its supervisor is killed, and it is gone on with once more."""
    again = strongroom("run", slow_run_file, "--detach", "--id", cancelled)
    assert again.data["state"] == "submitted"
    until(lambda: count(auditor, cancelled, "run.resumed") == 1)
    processes = below(holder(state, cancelled, "supervisor"))
    assert len(processes) >= 3, "a controller and two brokers at least"
    os.kill(holder(state, cancelled, "supervisor"), signal.SIGKILL)
    until(lambda: not alive(processes) and not run_locks.held(state, cancelled))
    left = strongroom("wait", cancelled)
    assert (left.code, left.codes) == (1, ["SR-RUN-218"])
    assert strongroom.status(cancelled)["state"] == "interrupted"

    again = strongroom("run", slow_run_file, "--detach", "--id", cancelled)
    assert again.data["state"] == "submitted"
    last = strongroom("wait", cancelled)
    assert last.code == 0, last.out
    assert last.data["adapter_sha256"] == whole["adapter_sha256"]
    assert strongroom("verify", cancelled).code == 0
    assert strongroom.red(cancelled) == []


def test_what_cannot_begin_is_told_to_whoever_waits(
    strongroom: Any, small_job: Any, auditor: Any
) -> None:
    """A denial and a missing dataset: with the exit codes and places of a run in the foreground."""
    unsafe = small_job.run_file("detached-unsafe", assurance="A0")
    at_once = strongroom("run", unsafe, "--detach", "--id", "detached-unsafe")
    assert (at_once.code, at_once.codes) == (3, ["SR-POLICY-001"]), "the run file alone decides"
    keyless = small_job.run_file("detached-keyless")
    keyless.write_text(keyless.read_text().replace("transit/feedback-outputs", "transit/absent"))
    missing = small_job.run_file("detached-missing", train="s3://acme-data/datasets/none/")
    for run, path in (("detached-denied", keyless), ("detached-without", missing)):
        assert strongroom("run", path, "--detach", "--id", run).data["state"] == "submitted"
    denied = strongroom("wait", "detached-denied")
    assert (denied.code, set(denied.codes)) == (3, {"SR-POLICY-001"})
    assert denied.errors[0]["place"].startswith("detached-keyless.yaml:")
    row = strongroom.status("detached-denied")
    assert (row["state"], row["code"]) == ("denied", "SR-POLICY-001")
    absent = strongroom("wait", "detached-without")
    assert (absent.code, absent.codes) == (2, ["SR-RUN-205"])
    row = strongroom.status("detached-without")
    assert (row["state"], row["code"], row["plan"]) == ("failed", "SR-RUN-205", None)
    assert set(auditor.types("detached-without")) == {"lease.issued", "run.failed"}
