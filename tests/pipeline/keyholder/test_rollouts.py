"""``strongroom rollouts`` on a real run: shown to the key holder, and to nobody on the way."""

from __future__ import annotations

import fcntl
import json
import mmap
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from strongroom.audit.events.types import RolloutsOpened
from strongroom.connectors.stack.stack import admin_client
from strongroom.crypto.digests import sha256
from strongroom.crypto.errors import (
    IntegrityError,
    ObjectDigestMismatch,
    ObjectExtended,
    ObjectTruncated,
)
from strongroom.errors import Exit
from strongroom.pipeline.background import registry
from strongroom.pipeline.broker.reading import ReadAccess
from strongroom.pipeline.inspection.log import Logs
from strongroom.pipeline.inspection.trust import Trust
from strongroom.pipeline.inspection.verify import verify
from strongroom.pipeline.keyholder.errors import OutputIsFile, RolloutsMissing
from strongroom.pipeline.keyholder.rollouts import show_rollouts
from strongroom.pipeline.releaser.errors import ReleaserUnreachable
from strongroom.pipeline.runfile.spec import RunSpec

CANARY = "canary-b7f1c94e-4c1d"
BUCKET = "acme-data"
RUN = "viewed"
CLI = (sys.executable, "-m", "strongroom")
SMALLEST_PIPE = 4096
F_SETPIPE_SZ = 1031
CHUNK_BYTES = 64 << 20


@dataclass(frozen=True)
class Viewed:
    """A finished run whose rows hold the canary."""

    state: Path
    spec: RunSpec

    def key(self, step: int, name: str) -> str:
        """The key of a checkpoint's object in the data bucket."""
        return f"runs/{RUN}/checkpoints/{step:06d}/{name}"

    def rollouts(self, *arguments: str, out: int = subprocess.PIPE) -> subprocess.Popen[bytes]:
        """``strongroom rollouts`` as a person would start it."""
        command = [*CLI, "rollouts", RUN, "--state", str(self.state), *arguments]
        return subprocess.Popen(command, stdout=out, stderr=subprocess.PIPE)

    @contextmanager
    def changed(self, key: str, data: bytes) -> Iterator[None]:
        """Another object under this key for a while."""
        client = admin_client(self.state)
        before = client.get_object(Bucket=BUCKET, Key=key)["Body"].read()
        client.put_object(Bucket=BUCKET, Key=key, Body=data)
        try:
            yield
        finally:
            client.put_object(Bucket=BUCKET, Key=key, Body=before)

    def stored(self, key: str) -> bytes:
        """What is stored under this key."""
        body = admin_client(self.state).get_object(Bucket=BUCKET, Key=key)["Body"]
        return bytes(body.read())


@pytest.fixture(scope="module")
def viewed(small_job: Any) -> Viewed:
    filler = " something nice" * 100  # more than a pipe holds, over all rollouts
    rows = [
        json.dumps(
            {
                "messages": [{"role": "user", "content": f"{CANARY} row {index}{filler}"}],
                "ground_truth": "a",
            }
        )
        for index in range(6)
    ]
    train = small_job.seal_rows("viewed/train", rows)
    file = small_job.run_file("viewed", train=train, steps=4, checkpoint_every=2)
    state = small_job.stack.state
    command = [*CLI, "run", str(file), "--id", RUN, "--state", str(state), "--json"]
    done = subprocess.run(command, capture_output=True, check=False)
    assert done.returncode == 0, done.stdout.decode() + done.stderr.decode()
    return Viewed(state, registry.recall(state, RUN))


def memory_holds(pid: int, needle: bytes) -> bool:
    """Whether any memory of a process holds ``needle``; pages that never were are left alone."""
    with (
        Path(f"/proc/{pid}/mem").open("rb", buffering=0) as memory,
        Path(f"/proc/{pid}/pagemap").open("rb", buffering=0) as pages,
    ):
        for line in Path(f"/proc/{pid}/maps").read_text().splitlines():
            bounds, rights = line.split()[:2]
            start, stop = (int(bound, 16) for bound in bounds.split("-"))
            if not rights.startswith("r") or "[v" in line:
                continue
            for chunk in range(start, stop, CHUNK_BYTES):
                size = min(CHUNK_BYTES, stop - chunk)
                pages.seek(chunk // mmap.PAGESIZE * 8)
                entries = np.frombuffer(pages.read(size // mmap.PAGESIZE * 8), dtype=np.uint64)
                if not (entries >> np.uint64(62)).any():  # neither present nor swapped out
                    continue
                memory.seek(chunk)
                try:
                    if needle in memory.read(size):
                        return True
                except OSError:
                    continue
    return False


def read_to_end(descriptor: int) -> bytes:
    pieces = []
    while piece := os.read(descriptor, 1 << 16):
        pieces.append(piece)
    return b"".join(pieces)


def test_rows_reach_the_output_and_not_the_process_with_the_network(viewed: Viewed) -> None:
    reader, writer = os.pipe()
    fcntl.fcntl(writer, F_SETPIPE_SZ, SMALLEST_PIPE)
    process = viewed.rollouts("--step", "2", out=writer)
    os.close(writer)
    try:
        first = os.read(reader, 1024)  # the viewer has written, and now waits in a full pipe
        time.sleep(0.5)
        assert process.poll() is None
        sealed = viewed.stored(viewed.key(2, "rollouts.sealed"))
        assert memory_holds(process.pid, sealed[:64])  # control: this is how one would find it
        assert not memory_holds(process.pid, CANARY.encode())
        assert memory_holds(os.getpid(), CANARY.encode())
        text = (first + read_to_end(reader)).decode()
    finally:
        os.close(reader)
        process.kill()
        _out, problems = process.communicate()
    assert problems == b""
    assert text.startswith(f"run {RUN} · step 2 · 8 sample rollouts\n")
    assert text.count(CANARY) == 8
    assert text.count("── step 2 · row ") == 8


def test_the_last_step_is_shown_when_none_is_named(viewed: Viewed) -> None:
    out, problems = viewed.rollouts().communicate()
    assert problems == b""
    assert out.decode().startswith(f"run {RUN} · step 4 · ")


def test_the_same_as_one_json_document(viewed: Viewed) -> None:
    out, problems = viewed.rollouts("--step", "2", "--json").communicate()
    assert problems == b""
    found = json.loads(out)
    assert (found["run"], found["step"], len(found["rollouts"])) == (RUN, 2, 8)
    assert all(CANARY in rollout["prompt"][-1]["content"] for rollout in found["rollouts"])


def test_each_look_is_in_the_log_and_the_run_still_verifies(viewed: Viewed) -> None:
    def looks() -> list[RolloutsOpened]:
        found = [event.data for event in Logs().of(viewed.spec, RUN).events]
        return [data for data in found if isinstance(data, RolloutsOpened)]

    before = len(looks())
    viewed.rollouts("--step", "2").communicate()
    seen = looks()
    assert len(seen) == before + 1
    key = viewed.key(2, "rollouts.sealed")
    assert seen[-1].uri == f"s3://{BUCKET}/{key}"
    assert seen[-1].sha256 == sha256(viewed.stored(key))
    trust = Trust(Logs().key(viewed.spec))
    assert all(check.ok for check in verify(ReadAccess(viewed.spec, RUN), RUN, trust).checks)


def test_without_the_releaser_nothing_is_shown(viewed: Viewed, tmp_path: Path) -> None:
    keys = viewed.spec.spec.keys.model_copy(update={"releaser": tmp_path / "nobody"})
    inner = viewed.spec.spec.model_copy(update={"keys": keys})
    spec = viewed.spec.model_copy(update={"spec": inner})
    with pipe() as (reader, writer):
        with pytest.raises(ReleaserUnreachable) as caught:
            show_rollouts(spec, RUN, 2, writer)
        os.close(writer)
        assert read_to_end(reader) == b""
    assert caught.value.code == "SR-RELEASE-001"


def test_a_flipped_byte_is_named_and_nothing_is_shown(viewed: Viewed) -> None:
    key = viewed.key(2, "rollouts.sealed")
    damaged = bytearray(viewed.stored(key))
    damaged[-1] ^= 1
    with viewed.changed(key, bytes(damaged)):
        process = viewed.rollouts("--step", "2")
        out, problems = process.communicate()
    assert process.returncode == Exit.INTEGRITY
    assert out == b""
    assert ObjectDigestMismatch.code in problems.decode()
    assert f"s3://{BUCKET}/{key}" in problems.decode().replace("\n", "")


@pytest.mark.parametrize(
    ("change", "error"),
    [
        (lambda data: data[:-1], ObjectTruncated),
        (lambda data: data + b"\0", ObjectExtended),
        (lambda data: data[:1] + b"\0" + data[2:], IntegrityError),
        (lambda data: b"", ObjectTruncated),
    ],
    ids=["truncated", "extended", "header", "empty"],
)
def test_other_damage_is_refused(viewed: Viewed, change: Any, error: type[Exception]) -> None:
    key = viewed.key(2, "rollouts.sealed")
    with (
        viewed.changed(key, change(viewed.stored(key))),
        pipe() as (_reader, writer),
        pytest.raises(error) as caught,
    ):
        show_rollouts(viewed.spec, RUN, 2, writer)
    assert isinstance(caught.value, IntegrityError)
    assert caught.value.place == f"s3://{BUCKET}/{key}"


def test_rollouts_and_manifest_of_another_step_do_not_open(viewed: Viewed) -> None:
    """Both fit each other, so only the seal's own identity tells."""
    other = {
        name: viewed.stored(viewed.key(4, name)) for name in ("rollouts.sealed", "manifest.json")
    }
    with (
        viewed.changed(viewed.key(2, "rollouts.sealed"), other["rollouts.sealed"]),
        viewed.changed(viewed.key(2, "manifest.json"), other["manifest.json"]),
        pipe() as (reader, writer),
    ):
        with pytest.raises(IntegrityError) as caught:
            show_rollouts(viewed.spec, RUN, 2, writer)
        os.close(writer)
        assert read_to_end(reader) == b""
    assert "rollouts.sealed" in caught.value.place


def test_a_step_without_a_checkpoint_names_those_that_have_one(viewed: Viewed) -> None:
    with pipe() as (_reader, writer), pytest.raises(RolloutsMissing) as caught:
        show_rollouts(viewed.spec, RUN, 3, writer)
    assert caught.value.actual == "checkpoints of steps 2, 4"


def test_a_run_that_never_was_has_no_rollouts(viewed: Viewed) -> None:
    with pipe() as (_reader, writer), pytest.raises(RolloutsMissing) as caught:
        show_rollouts(viewed.spec, "never", 1, writer)
    assert caught.value.place.endswith("runs/never/keys.json")


def test_a_file_is_refused_before_any_key_is_asked_for(viewed: Viewed, tmp_path: Path) -> None:
    with (tmp_path / "kept.txt").open("wb") as file, pytest.raises(OutputIsFile):
        show_rollouts(viewed.spec, RUN, 2, file.fileno())


@contextmanager
def pipe() -> Iterator[tuple[int, int]]:
    """A pipe's two ends."""
    ends = os.pipe()
    try:
        yield ends
    finally:
        for end in ends:
            try:
                os.close(end)
            except OSError:
                continue
