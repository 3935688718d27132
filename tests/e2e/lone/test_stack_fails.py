"""A stack that does not keep what it promises: buckets that forget, a key service that is down."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from strongroom.connectors.stack import stack as servers
from strongroom.pipeline.embedded import stack
from support.small_job import places


@pytest.fixture
def run_file(lone_job: Any) -> Path:
    path: Path = lone_job.run_file("failing", steps=1, checkpoint_every=1)
    return path


@pytest.fixture
def loosened(auditor: Any) -> Iterator[None]:
    """The data bucket without versions and the audit bucket without its default retention."""
    client = auditor.client
    lock = client.get_object_lock_configuration(Bucket="acme-audit")["ObjectLockConfiguration"]

    def versions(status: str) -> None:
        client.put_bucket_versioning(Bucket="acme-data", VersioningConfiguration={"Status": status})

    versions("Suspended")
    client.put_object_lock_configuration(
        Bucket="acme-audit", ObjectLockConfiguration={"ObjectLockEnabled": "Enabled"}
    )
    yield
    versions("Enabled")
    client.put_object_lock_configuration(Bucket="acme-audit", ObjectLockConfiguration=lock)


def test_buckets_that_forget_are_denied(
    strongroom: Any, auditor: Any, run_file: Path, loosened: None
) -> None:
    result = strongroom("run", run_file, "--id", "loosened")
    assert result.code == 3
    assert set(result.codes) == {"SR-POLICY-001"}
    found = {error["place"] for error in result.errors}
    assert places(run_file, "  audit: ")[0] in found
    assert places(run_file, "  outputs: ")[0] in found
    assert auditor.of("loosened") == {}


def test_a_key_service_that_is_down(
    lone_job: Any, strongroom: Any, auditor: Any, run_file: Path
) -> None:
    process = servers.StackInfo.load(lone_job.stack.state).processes["openbao"]
    os.kill(process.pid, signal.SIGKILL)
    try:
        result = strongroom("run", run_file, "--id", "vault-down")
    finally:
        stack.up(lone_job.stack.state)
    assert (result.code, result.codes) == (1, ["SR-ACCESS-008"])  # the broker logs in there first
    assert auditor.of("vault-down") == {}
    planned = strongroom("plan", run_file, "--id", "vault-down")
    assert planned.data["admitted"] is True
