"""Enclave, brokers, releaser: whoever dies, the run says so and can be resumed."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from strongroom.pipeline.embedded import stack
from support.family import Process, alive, below, broker_of, enclave_of
from support.small_job import SLOW


@pytest.mark.parametrize(
    "run",
    ["its-own", pytest.param("the-releaser", marks=pytest.mark.full)],
)
def test_whoever_dies_the_run_says_so_and_goes_on(
    strongroom: Any, auditor: Any, lone_job: Any, until: Any, whole: Any, run: str
) -> None:
    """Enclave, data broker, log broker, one after the other; or the releaser, which is awaited."""
    run_file = lone_job.run_file(run, **SLOW)

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
        until(lambda: not alive(family))
        [error] = result.errors
        assert "resume RUN" in error["remedy"]
        return result

    def kill_enclave(controller: int) -> None:
        until(auditor.wrote(run, "checkpoints/000002/manifest.json"))
        found = enclave_of(controller)
        assert found is not None
        found.kill()

    def kill_data_broker(controller: int) -> None:
        until(auditor.wrote(run, "checkpoints/000004/manifest.json"))
        broker_of(controller, data=True).kill()

    def kill_log_broker(controller: int) -> None:
        until(auditor.wrote(run, "checkpoints/000006/manifest.json"))
        broker_of(controller, data=False).kill()

    def kill_releaser(_controller: int) -> None:
        [row] = [row for row in strongroom("stack", "status").data if row["name"] == "releaser"]
        assert row["running"]
        process = stack._releaser_process(lone_job.stack.state)
        assert process is not None
        os.kill(process.pid, signal.SIGKILL)

    if run == "its-own":
        first = fails(("run", run_file, "--id", run), kill_enclave)
        assert (first.code, first.codes) == (1, ["SR-CHANNEL-003"])
        assert first.errors[0]["actual"] == "SIGKILL"
        assert auditor.types(run)[-1] == "run.failed"
        second = fails(("resume", run), kill_data_broker)
        assert (second.code, second.codes) == (1, ["SR-PROC-001"])
        assert auditor.types(run)[-1] == "run.failed"
        third = fails(("resume", run), kill_log_broker)
        assert (third.code, third.codes) == (1, ["SR-PROC-001"])
    else:
        try:
            first = fails(("run", run_file, "--id", run), kill_releaser)
            assert (first.code, first.codes) == (4, ["SR-RELEASE-001"])
            refused = strongroom("resume", run)
            assert (refused.code, refused.codes) == (4, ["SR-RELEASE-001"])
        finally:
            assert strongroom("stack", "up").code == 0
    last = strongroom("resume", run)
    assert last.code == 0, last.out
    assert last.data["adapter_sha256"] == whole["adapter_sha256"]
    assert strongroom("verify", run).data["verified"] is True
