"""The ``strongroom`` command as a person runs it, and what an auditor sees of it afterwards."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from strongroom.audit.events.entries import Event, from_entry
from strongroom.audit.log.note import LogKey
from strongroom.audit.log.verify import Check, check_log, read_log
from strongroom.connectors.buckets.errors import ObjectMissing
from strongroom.connectors.stack.stack import admin_client
from strongroom.crypto.dsse import KeyRef, public_key
from strongroom.pipeline.background import registry
from strongroom.pipeline.broker.reading import ReadAccess
from strongroom.pipeline.inspection.verify import Verification

LOG_ORIGIN = "acme-audit/strongroom"
CHECKPOINT = f"s3://{LOG_ORIGIN}/checkpoint"
MAIN_JOB = "main-job"


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
            timeout=200,
            env={**os.environ, **(environment or {})},
        )
        return Result(done.returncode, done.stdout, done.stderr)

    def start(self, *arguments: str | Path) -> subprocess.Popen[str]:
        """Start a command and return at once."""
        return subprocess.Popen(
            self._command(*arguments), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )

    def ended(self, process: subprocess.Popen[str], limit_s: float = 100.0) -> Result:
        """How a started command ended; waits for it."""
        out, err = process.communicate(timeout=limit_s)
        return Result(process.returncode, out, err)

    def _command(self, *arguments: str | Path) -> list[str]:
        words = [str(argument) for argument in arguments]
        command = [sys.executable, "-m", "strongroom", *words]
        return [*command, "--state", str(self.state), "--json"]


class AdminLog:
    """The audit log's objects, read with the administrator's key; but for the checkpoint once."""

    def __init__(self, client: Any) -> None:
        self._client = client
        self._held: dict[str, tuple[bytes, str]] = {}

    def read(self, key: str) -> tuple[bytes, str] | None:
        """See ``audit.log.store.LogStore.read``."""
        if key in self._held:
            return self._held[key]
        try:
            found = self._client.get_object(Bucket="acme-audit", Key=f"strongroom/{key}")
        except ClientError:
            return None
        stored = found["Body"].read(), found["ETag"]
        if key != "checkpoint":
            self._held[key] = stored
        return stored

    def create(self, key: str, data: bytes) -> bool:
        """Never: this is for looking."""
        raise PermissionError(key)

    def replace(self, key: str, data: bytes, etag: str) -> bool:
        """Never: this is for looking."""
        raise PermissionError(key)


class Auditor:
    """Buckets and log, seen by the administrator of the stack."""

    def __init__(self, state: Path, audit_key: str) -> None:
        self.client = admin_client(state)
        self._log = AdminLog(self.client)
        self.vkey = LogKey(LOG_ORIGIN, public_key(KeyRef(audit_key))).vkey()

    def objects(self, prefix: str, bucket: str = "acme-data") -> dict[str, int]:
        """Every object under ``prefix`` with its size, by its whole URI."""
        pages = self.client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix)
        return {
            f"s3://{bucket}/{item['Key']}": item["Size"]
            for page in pages
            for item in page.get("Contents", ())
        }

    def names(self, run: str) -> set[str]:
        """The objects in a run's folder, by their name in it."""
        return {uri.removeprefix(f"s3://acme-data/runs/{run}/") for uri in self.of(run)}

    def of(self, run: str) -> dict[str, int]:
        """The objects in a run's folder, by URI."""
        return self.objects(f"runs/{run}/")

    def get(self, uri: str) -> bytes:
        """One object."""
        bucket, _, key = uri.removeprefix("s3://").partition("/")
        data: bytes = self.client.get_object(Bucket=bucket, Key=key)["Body"].read()
        return data

    def put(self, uri: str, data: bytes) -> None:
        """Write an object, over whatever is there: what a hostile store can do."""
        bucket, _, key = uri.removeprefix("s3://").partition("/")
        self.client.put_object(Bucket=bucket, Key=key, Body=data)

    def every_event(self) -> list[Event]:
        """All runs' events, from the log verified as a whole."""
        return [from_entry(entry) for entry in read_log(self._log, self.vkey, LOG_ORIGIN).entries]

    def events(self, run: str) -> list[Event]:
        """A run's events."""
        return [event for event in self.every_event() if event.run == run]

    def types(self, run: str) -> list[str]:
        """The types of a run's events, in order."""
        return [str(event.data.__struct_config__.tag) for event in self.events(run)]

    def check(self) -> list[Check]:
        """Every check of the log, with every object under its prefix accounted for."""
        names = self.objects("strongroom/", "acme-audit")
        self._log = AdminLog(self.client)
        keys = [name.removeprefix("s3://acme-audit/strongroom/") for name in names]
        return check_log(self._log, self.vkey, LOG_ORIGIN, keys=keys)


Failures = set[tuple[str, str]]
"""The name and the object of each check that does not hold."""


class Copy:
    """What ``ReadAccess`` gives, kept: objects of a run, of its log and of its inputs."""

    def __init__(self, access: ReadAccess, objects: dict[str, bytes]) -> None:
        self.layout, self.audit = access.layout, access.audit
        self.objects = objects
        self._access = access

    @classmethod
    def of(cls, access: ReadAccess) -> Copy:
        """A copy of everything that is there now."""
        copy = cls(access, {})
        for prefix in (copy.layout.folder, copy.audit):
            for name in access.names(prefix):
                copy.refresh(prefix + name)
        return copy

    def holding(self, objects: dict[str, bytes]) -> Copy:
        """Another copy, of these objects."""
        return Copy(self._access, objects)

    def refresh(self, uri: str) -> None:
        """Read one object again."""
        self.objects.pop(uri, None)
        data = self._access.get(uri)
        if data is not None:
            self.objects[uri] = data

    def get(self, uri: str) -> bytes | None:
        """See ``ReadAccess.get``; inputs are read when they are asked for first."""
        if uri not in self.objects and not uri.startswith((self.layout.folder, self.audit)):
            self.refresh(uri)
        return self.objects.get(uri)

    def stream(self, uri: str) -> Iterator[memoryview]:
        """See ``ReadAccess.stream``."""
        data = self.get(uri)
        if data is None:
            raise ObjectMissing(place=uri)
        yield memoryview(data)

    def names(self, uri: str) -> list[str]:
        """See ``ReadAccess.names``."""
        return sorted(name.removeprefix(uri) for name in self.objects if name.startswith(uri))

    def checks(self, vkey: str) -> list[Check]:
        """Every check of ``strongroom verify`` on it."""
        return Verification(self, self.layout.run, vkey).verify()  # type: ignore[arg-type]

    def failures(self, vkey: str) -> Failures:
        """What of it does not verify."""
        return {(check.name, check.object) for check in self.checks(vkey) if not check.ok}


@pytest.fixture(scope="session")
def strongroom(small_job: Any) -> Strongroom:
    """The command line."""
    return Strongroom(small_job.stack.state)


@pytest.fixture(scope="session")
def auditor(small_job: Any) -> Auditor:
    """Who may look at everything."""
    return Auditor(small_job.stack.state, small_job.stack.info.public_keys["audit-log"])


@dataclass(frozen=True)
class MainJob:
    """The main job at reduced size, run to its end."""

    run: str
    result: Any
    """What the command printed."""
    logged: frozenset[str]
    """The objects of the log that were written meanwhile, by URI; its checkpoint is one."""


@pytest.fixture(scope="session")
def main_run_file(small_job: Any) -> Path:
    """The main job's run file."""
    path: Path = small_job.run_file(MAIN_JOB)
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
def copy(main_job: MainJob, small_job: Any) -> Copy:
    """The main job, its log and its inputs in memory; for tests that put back what they change.

    Of this moment: between modules other runs write into the log.
    """
    spec = registry.recall(small_job.stack.state, main_job.run)
    return Copy.of(ReadAccess(spec, main_job.run))


@pytest.fixture(scope="session")
def until() -> Callable[..., None]:
    """Wait until a condition holds."""

    def wait(condition: Callable[[], object], limit_s: float = 60.0) -> None:
        end = time.monotonic() + limit_s
        while not condition():
            assert time.monotonic() < end, "it did not happen in time"
            time.sleep(0.05)  # looking costs time, too

    return wait
