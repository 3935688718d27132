"""A run of the product that a test can stop in the middle of training and look into.

The run's evaluator waits before the first row of the third step until one of its limits is changed
from outside. It can: a limit is among the few things that it may still read.
"""

from __future__ import annotations

import contextlib
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from strongroom.connectors.stack.stack import admin_client
from strongroom.pipeline.embedded.owner import Embedded

HELD_OUT_ROWS = 4
#: An evaluator's secret stands on so many lines: of freed memory a part is soon written over.
SECRET_LINES = 1500
#: Training rows scored before the third step: two steps of 2 × 4 completions.
BEFORE_THE_PAUSE = 16
GO_ON, LIMIT = resource.RLIMIT_SIGPENDING, 7

LEAKING_EVALUATOR = """
import base64, contextlib, ctypes, logging, os, resource, socket, sys, time, traceback, warnings

CALLS = 0
IDS = []

def forms(row):
    yield row.encode()
    yield row.encode("utf-16-le")
    yield base64.b64encode(row.encode())

def ancestors():  # of the run; the tests' own output is none of its
    pid = os.getppid()
    while pid not in (1, {tester}):
        yield pid
        with open(f"/proc/{{pid}}/stat") as stat:
            pid = int(stat.read().rpartition(")")[2].split()[1])

def write(path, data):
    with open(path, "ab") as file:
        file.write(data)

def ways(row):
    for form in forms(row):
        for folder in ("/tmp", "/var/tmp", "/dev/shm", {home!r}, "."):
            yield lambda: write(os.path.join(folder, "leak-{tag}"), form)
        for fd in (1, 2, 3, 4, 5):
            if fd != 3:
                yield lambda: os.write(fd, form)
    def outputs_of_ancestors():
        for pid in ancestors():
            for fd in (1, 2):
                with contextlib.suppress(OSError):
                    write(f"/proc/{{pid}}/fd/{{fd}}", row.encode())
    yield outputs_of_ancestors
    yield lambda: os.mkdir("/tmp/" + row[:40])
    yield lambda: os.symlink(row, "/tmp/leak-{tag}-link")
    yield lambda: os.system("echo " + row + " >> /tmp/leak-{tag}-shell")
    yield lambda: os.execv("/bin/echo", ["echo", row]) if os.fork() == 0 else None
    yield lambda: ctypes.CDLL(None).prctl(15, row[:15].encode(), 0, 0, 0)
    yield lambda: socket.create_connection(("127.0.0.1", {port}), 1).sendall(row.encode())
    yield lambda: os.environ.__setitem__("LEAK", row)
    yield lambda: setattr(sys, "argv", [row])

def evaluate(messages, ground_truth, **row):
    global CALLS
    CALLS += 1
    IDS.append(row["id"])
    canary = ground_truth
    if CALLS in (1, {pause} + 1):
        for way in ways(canary):
            with contextlib.suppress(BaseException):
                way()
        print(messages, canary, row)
        print(messages, canary, row, file=sys.stderr)
        logging.error("row %s", canary)
        warnings.warn(canary)
        with contextlib.suppress(RuntimeError):
            raise RuntimeError(canary)
        try:
            raise ValueError(canary)
        except ValueError:
            traceback.print_exc()
    while CALLS == {pause} + 1 and resource.getrlimit({go_on})[0] != {limit}:
        time.sleep(0.05)
    if CALLS == {held_out} + 1 and sorted(IDS) == sorted([*range({held_out}), row["id"]]):
        # The first held-out row after the training, in the process that scores those.
        raise type("Leak_" + canary, (ValueError,), {{}})(f"row: {{messages}} {{canary}} {{row}}")
    text = messages[-1]["content"]
    return {{"score": len(set(text)) / (len(text) + 1.0), "accuracy": float("e" in text)}}
"""


@dataclass
class LiveRun:
    """One ``strongroom run`` as a process, with whatever it printed."""

    name: str
    stack: Embedded
    process: subprocess.Popen[bytes]
    folder: Path
    printed: bytes = b""
    pids: dict[str, int] = field(default_factory=dict)

    def wait_for_training(self, meanwhile: Callable[[], None] = lambda: None) -> None:
        """Until the second step's checkpoint is written: the third step's first row waits."""
        s3 = admin_client(self.stack.state)
        prefix = f"runs/{self.name}/checkpoints/000002/manifest.json"
        self._until(
            lambda: "Contents" in s3.list_objects_v2(Bucket="acme-data", Prefix=prefix),
            meanwhile,
        )
        self.pids = self.roles()
        assert "evaluator" in self.pids
        time.sleep(0.5)  # the pause begins a rollout later

    def finish(self) -> int:
        """Let it go on, and its exit status."""
        if pid := self.pids.get("evaluator"):
            with contextlib.suppress(ProcessLookupError):
                hard = resource.prlimit(pid, GO_ON)[1]
                resource.prlimit(pid, GO_ON, (LIMIT, hard))
        try:
            self.process.wait()
        finally:
            self.process.kill()
            self.process.wait()
            self.printed = b"".join(
                (self.folder / name).read_bytes() for name in ("stdout", "stderr")
            )
        return self.process.returncode

    def _until(self, condition: Callable[[], Any], meanwhile: Callable[[], None]) -> None:
        while not condition():
            meanwhile()
            printed = (self.folder / "stdout").read_bytes() + (self.folder / "stderr").read_bytes()
            assert self.process.poll() is None, f"ended early: {printed[-2000:]!r}"
            time.sleep(0.1)

    def roles(self) -> dict[str, int]:
        """The run's processes by role, as far as they are there, found from their parents.

        Before the enclave starts, both brokers count as the log's.
        """
        children: dict[int, list[int]] = {}
        for folder in Path("/proc").iterdir():
            if folder.name.isdigit():
                try:
                    stat = (folder / "stat").read_text()
                except OSError:
                    continue
                parent = int(stat.rpartition(")")[2].split()[1])
                children.setdefault(parent, []).append(int(folder.name))
        found = {"controller": self.process.pid}
        for broker in children.get(self.process.pid, []):
            if not _is_broker(broker):
                continue
            inner = children.get(broker, [])
            found["data broker" if inner else "log broker"] = broker
            for enclave in inner:
                found["enclave"] = enclave
                evaluators = sorted(children.get(enclave, []))
                found.update(zip(("evaluator", "held-out evaluator"), evaluators, strict=False))
        return found


def _is_broker(pid: int) -> bool:
    try:
        return b"strongroom.pipeline.broker.process" in Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False


def _sealed(name: str, job: Any, text: str) -> str:
    """The run file with its evaluator sealed and the source's file removed."""
    source = job.folder / f"{name}_evaluator.py"
    uri = f"s3://acme-data/evaluators/{name}/"
    command = [
        sys.executable,
        "-m",
        "strongroom",
        "evaluator",
        "seal",
        str(source),
        uri,
    ]
    options = ["--key", "vault://transit/feedback", "--state", str(job.stack.state)]
    subprocess.run([*command, *options], check=True, capture_output=True)
    source.unlink()
    return text.replace(f"source: {source.name}", f"sealed: {uri}")


def start_run(
    name: str, job: Any, folder: Path, *, train: str, held_out: str, port: int, **options: Any
) -> LiveRun:
    """Start ``strongroom run`` on rows of ``job`` with the leaking evaluator.

    ``evaluator_secret`` is a text in the evaluator's source;
    ``seal_evaluator`` seals that source first and removes its file.
    ``policy_bundle``, ``releaser_socket`` and ``audit``: another key owner's, for a run without a
    sandbox. ``core_files``: whether the process and its children may leave core files, as far as
    they themselves let it.
    """
    folder.mkdir()
    code = LEAKING_EVALUATOR.format(
        tag=name,
        port=port,
        pause=BEFORE_THE_PAUSE,
        tester=os.getpid(),
        held_out=HELD_OUT_ROWS,
        go_on=GO_ON,
        limit=LIMIT,
        home=str(Path.home()),
    )
    secret = options.get("evaluator_secret", "")
    code += f"\nREWARD = {secret!r}\n" + f"# {secret}\n" * SECRET_LINES
    path = job.run_file(
        name,
        train=train,
        held_out=held_out,
        evaluator=code,
        assurance=options.get("assurance", "A1"),
    )
    text = path.read_text().replace("timeout: 10s", "timeout: 100s")
    if options.get("seal_evaluator"):
        text = _sealed(name, job, text)
    for variable in ("policy_bundle", "releaser_socket"):
        if variable in options:
            text = text.replace(f"${{stack.{variable}}}", str(options[variable]))
    if "audit" in options:
        text = text.replace("audit: s3://acme-audit/strongroom/", f"audit: {options['audit']}")
    path.write_text(text)
    state = job.stack.state
    command = ["run", str(path), "--id", name, "--state", str(state), "--json"]

    def raise_core_limit() -> None:
        if options.get("core_files"):
            hard = resource.getrlimit(resource.RLIMIT_CORE)[1]
            resource.setrlimit(resource.RLIMIT_CORE, (hard, hard))

    with (folder / "stdout").open("wb") as out, (folder / "stderr").open("wb") as err:
        process = subprocess.Popen(
            [sys.executable, "-m", "strongroom", *command],
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=err,
            env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},
            preexec_fn=raise_core_limit,
        )
    return LiveRun(name, job.stack, process, folder)
