"""The broker's side of an enclave, with small programs that play the enclave at the other end."""

from __future__ import annotations

import signal
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from typing_extensions import Buffer

from strongroom.crypto.digests import Sha256, sha256
from strongroom.crypto.dsse import KeyRef, open_envelope
from strongroom.crypto.manifest import CHECKPOINT_TYPE, decode_checkpoint
from strongroom.enclave import broker
from strongroom.enclave.broker import EnclaveHandle
from strongroom.enclave.channel import capacity, frames
from strongroom.enclave.channel.errors import (
    ChannelViolation,
    EnclaveKilled,
    EnclaveTimedOut,
    RecordsRejected,
)
from strongroom.enclave.errors import EvaluatorRaised, EvidenceMalformed
from strongroom.enclave.sandbox import launch
from strongroom.errors import StrongroomError
from strongroom.errors.registry import all_codes

PLAN = b'{"run":"r"}'
LIMITS = capacity.Limits(
    steps=4,
    checkpoints=2,
    evaluations=0,
    shards=4,
    records=50,
    fetches=9,
    step_metrics=("loss",),
    evaluation_metrics=("score_mean",),
    output_bytes=1 << 20,
    memory_bytes=1 << 30,
)
#: What every program begins with: a channel, a signing key, and how to tell of it.
PRELUDE = """
import base64, os, signal, socket, sys
import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from strongroom.crypto.digests import sha256
from strongroom.crypto.dsse import pae
from strongroom.crypto.keyset import Keyset
from strongroom.crypto.manifest import CHECKPOINT_TYPE, encode, encode_header
from strongroom.enclave.channel import frames
from strongroom.enclave.attest import COMMANDS
from strongroom.enclave.channel.framing import Channel, Kind
from strongroom.enclave.checkpoints import checkpoint_manifest
from strongroom.enclave.evidence import Evidence

channel = Channel(socket.socket(fileno=int(sys.argv[1])), "broker")
say = channel.send_record
start = channel.recv_record(COMMANDS)
key = Ed25519PrivateKey.generate()
keyset = Keyset.generate()

def evidence(**changes):
    fields = dict(
        role="train", assurance="A1", measurement="m", plan_digest=sha256(start.plan),
        nonce=start.nonce, hpke_key="k", probes={}, warnings=(),
        signing_key="ed25519:" + base64.b64encode(key.public_key().public_bytes_raw()).decode(),
    ) | changes
    say(frames.EvidenceFrame(evidence=msgspec.json.encode(Evidence(**fields))))

def hear():
    return channel.recv_record(COMMANDS)

def fetch(request):
    say(request)
    return b"".join(bytes(piece) for piece in channel.recv_object(bytearray()))

def put(artifact, step, plain):
    sealed = bytes(keyset.streaming().seal(plain, b""))
    say(frames.Put(artifact=artifact, index=step, size_bytes=len(sealed)))
    channel.send_object([sealed])
    return frames.SealedEntry(
        size_bytes=len(sealed), sha256=sha256(sealed), plaintext_sha256=sha256(plain),
        header=encode_header(sealed[:40]),
    )

def checkpoint(step, entries, signer=key, digest=None):
    manifest = checkpoint_manifest("r", digest or sha256(start.plan), step, entries)
    signature = signer.sign(pae(CHECKPOINT_TYPE, encode(manifest)))
    say(frames.CheckpointDone(
        step=step, signature=base64.b64encode(signature).decode(), **entries))

def write(step, **options):
    names = ("adapter", "state", "rollouts")
    checkpoint(step, {name: put(name, step, name.encode()) for name in names}, **options)
"""


class Memory:
    """A bucket in memory."""

    def __init__(self) -> None:
        self.fetched: list[frames.Fetch] = []
        self.written: dict[tuple[str, int], bytes] = {}
        self.manifests: dict[int, bytes] = {}

    def fetch(self, request: frames.Fetch) -> Iterator[Buffer]:
        self.fetched.append(request)
        yield b"some "
        yield b"bytes"

    def put(self, artifact: str, step: int, data: bytes) -> None:
        self.written[artifact, step] = data

    def put_manifest(self, step: int, envelope: bytes) -> Sha256:
        self.manifests[step] = envelope
        return sha256(envelope)


class Played(subprocess.Popen[bytes]):
    """A process that refuses nothing."""

    def refusal(self) -> None:
        """As ``isolated.start.Child`` has it."""


class Stage:
    """Handles on enclaves that follow a script, all ended after the test."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.objects = Memory()
        self.reports: list[frames.Report] = []
        self.processes: list[subprocess.Popen[bytes]] = []
        self._monkeypatch = monkeypatch

    def play(self, script: str) -> EnclaveHandle:
        program = PRELUDE + textwrap.dedent(script)

        def start(_module: str, fd: int, *_: Any, **__: Any) -> subprocess.Popen[bytes]:
            command = [sys.executable, "-I", "-B", "-c", program, str(fd)]
            self.processes.append(Played(command, pass_fds=[fd]))
            return self.processes[-1]

        self._monkeypatch.setattr(launch, "start", start)
        return EnclaveHandle(
            plan=PLAN,
            nonce="n" * 22,
            assurance="A1",
            threads=1,
            run="r",
            limits=LIMITS,
            objects=self.objects,
            notify=self.reports.append,
        )

    @property
    def dead(self) -> bool:
        return all(process.poll() is not None for process in self.processes)


@pytest.fixture
def stage(monkeypatch: pytest.MonkeyPatch) -> Iterator[Stage]:
    stage = Stage(monkeypatch)
    yield stage
    for process in stage.processes:
        if process.poll() is None:
            process.kill()
        process.wait()


def run_of(stage: Stage, script: str) -> Callable[[], None]:
    handle = stage.play("evidence()\nhear()\n" + textwrap.dedent(script) + "\nhear()\n")
    return lambda: handle.run(frames.Train(from_step=0, to_step=1))


def test_an_enclave_that_says_nothing_while_it_starts_is_stopped(stage, monkeypatch):
    """As one does whose tokenizer's pattern, or number of layers, takes for ever."""
    monkeypatch.setattr(broker, "START_SILENCE_S", 1.5)
    with pytest.raises(EnclaveTimedOut) as caught:
        stage.play("signal.pause()")
    assert caught.value.expected == "2 s at most"
    assert stage.dead


def test_an_enclave_that_says_nothing_while_it_works_is_stopped(stage, monkeypatch):
    monkeypatch.setattr(broker, "WORK_SILENCE_S", 0.5)
    handle = stage.play("evidence(); hear(); signal.pause()")
    with pytest.raises(EnclaveTimedOut):
        handle.run(frames.Train(from_step=0, to_step=1))
    assert stage.dead


def test_an_enclave_from_start_to_stop(stage):
    handle = stage.play("""
        assert fetch(frames.Fetch(kind="model", index=1)) == b"some bytes"
        say(frames.Progress(activity="trial", done=1, total=2))
        evidence()
        assert hear() == frames.Keys(sealed=b"sealed")
        say(frames.Done())
        assert hear() == frames.Verify(dataset="held_out", shard=1)
        assert fetch(frames.Fetch(kind="shard", dataset="held_out", index=1)) == b"some bytes"
        said = dict(dataset="held_out", shard=1, records=3, bad_records=0, plaintext_bytes=1)
        say(frames.ShardVerified(**said))
        say(frames.Done())
        assert hear() == frames.Stop()
        sys.exit(7)
    """)
    assert handle.evidence.plan_digest == sha256(PLAN)
    assert handle.evidence.nonce == "n" * 22
    assert handle.pid == stage.processes[0].pid
    handle.give_keys(b"sealed")
    handle.run(frames.Verify(dataset="held_out", shard=1))
    handle.stop()
    assert stage.processes[0].returncode == 7
    assert [request.kind for request in stage.objects.fetched] == ["model", "shard"]
    assert [type(report).__name__ for report in stage.reports] == ["Progress", "ShardVerified"]


def test_a_checkpoint_is_written_and_signed_by_the_enclave(stage):
    handle = stage.play("evidence()\nhear()\nwrite(2)\nsay(frames.Done())\nhear()")
    handle.run(frames.Train(from_step=0, to_step=1))
    envelope = stage.objects.manifests[2]
    signer = KeyRef(handle.evidence.signing_key)
    payload, _ = open_envelope(envelope, CHECKPOINT_TYPE, [signer], place="checkpoint")
    manifest = decode_checkpoint(payload, "checkpoint")
    assert (manifest.run, manifest.step, manifest.plan_digest) == ("r", 2, sha256(PLAN))
    for name, entry in manifest.objects.items():
        data = stage.objects.written[name, 2]
        assert (entry.size_bytes, entry.sha256) == (len(data), sha256(data))
        assert entry.object == f"{name}.sealed"
        assert entry.plaintext_sha256 == sha256(name.encode())
    [report] = stage.reports
    assert isinstance(report, frames.CheckpointWritten)
    assert (report.step, report.manifest) == (2, sha256(envelope))
    handle.kill()


VIOLATIONS = {
    "a record outside the plan": "say(frames.StepDone(step=99, values={}))",
    "a metric nobody declared": 'say(frames.StepDone(step=1, values={"secret": 1.0}))',
    "no record": 'channel.send(Kind.DATA, b"row 17 says hello")',
    "no schema": 'channel.send(Kind.RECORD, b"row 17 says hello")',
    "no text": 'channel.send(Kind.RECORD, b\'{"frame":"\\xff"}\')',
    "more bytes than announced": """
        say(frames.Put(artifact="adapter", index=1, size_bytes=60))
        channel.send_object([bytes([40]) + bytes(99)])
    """,
    "fewer bytes than announced": """
        say(frames.Put(artifact="adapter", index=1, size_bytes=160))
        channel.send_object([bytes([40]) + bytes(99)])
    """,
    "bytes that look like plaintext": """
        say(frames.Put(artifact="adapter", index=1, size_bytes=100))
        channel.send_object([b"row 17 says hello".ljust(100)])
    """,
    "a record amid an object": """
        say(frames.Put(artifact="adapter", index=1, size_bytes=100))
        say(frames.Done())
    """,
    "a checkpoint without its objects": """
        entries = {name: put(name, 1, name.encode()) for name in ("adapter", "state")}
        entries["rollouts"] = msgspec.structs.replace(
            entries["state"], header=encode_header(bytes([40]) + bytes(39)))
        checkpoint(1, entries)
    """,
    "a checkpoint of another step's objects": """
        entries = {name: put(name, 1, name.encode()) for name in ("adapter", "state", "rollouts")}
        checkpoint(2, entries)
    """,
    "a checkpoint of other objects": """
        entries = {name: put(name, 1, name.encode()) for name in ("adapter", "state", "rollouts")}
        other = msgspec.structs.replace(entries["state"], sha256="sha256:" + "0" * 64)
        checkpoint(1, entries | {"state": other})
    """,
    "another's signature": "write(1, signer=Ed25519PrivateKey.generate())",
    "a signature over another plan": 'write(1, digest="sha256:" + "0" * 64)',
    "a second piece of evidence": "evidence()\nevidence()",
}


@pytest.mark.parametrize("name", VIOLATIONS)
def test_whoever_breaks_a_rule_is_killed(stage, name):
    run = run_of(stage, VIOLATIONS[name])
    with pytest.raises(ChannelViolation) as caught:
        run()
    assert stage.dead
    assert "hello" not in str(caught.value)
    assert stage.objects.manifests == {}


@pytest.mark.parametrize(
    ("script", "error"),
    [
        ("say(frames.Done())", ChannelViolation),
        ('say(frames.EvidenceFrame(evidence=b"{}"))', EvidenceMalformed),
        ('say(frames.EvidenceFrame(evidence=b\'{"role":"\\xff"}\'))', EvidenceMalformed),
        ('say(frames.StepDone(step=1, values={"loss": 1.0}))', ChannelViolation),
        ('say(frames.Fetch(kind="evaluator"))', ChannelViolation),
        ('say(frames.Failure(code="SR-DATA-001"))', RecordsRejected),
        ("os._exit(3)", EnclaveKilled),
    ],
)
def test_before_its_evidence_an_enclave_may_say_little(stage, script, error):
    """Nothing runs on without a handle to end it by."""
    with pytest.raises(error):
        stage.play(f"{script}\nimport time\ntime.sleep(60)")
    assert stage.dead


@pytest.mark.parametrize(
    ("script", "actual"),
    [
        ("os._exit(3)", "exit status 3"),
        ("os.kill(os.getpid(), signal.SIGSYS)", "SIGSYS"),
        ("os.kill(os.getpid(), signal.SIGKILL)", "SIGKILL"),
        ('say(frames.Put(artifact="state", index=1, size_bytes=90))\nos._exit(9)', "exit status 9"),
    ],
)
def test_a_lost_enclave_is_told_by_what_became_of_it(stage, script, actual):
    run = run_of(stage, script)
    with pytest.raises(EnclaveKilled) as caught:
        run()
    assert caught.value.actual == actual
    assert caught.value.place == "enclave of run r"


def test_a_failure_is_rebuilt_with_its_place(stage):
    run = run_of(
        stage,
        'say(frames.Failure(code="SR-EVAL-003", detail="ValueError", step=3, row=17, line=4))',
    )
    with pytest.raises(EvaluatorRaised) as caught:
        run()
    assert caught.value.place == "step 3 train row 17 line 4"
    assert caught.value.actual == "ValueError"
    assert stage.dead


@pytest.mark.parametrize(
    ("failure", "place"),
    [
        ({}, ""),
        ({"dataset": "held_out", "shard": 2}, "held_out/shard-00002.sealed"),
        ({"shard": 0, "segment": 3}, "train/shard-00000.sealed segment 3"),
        ({"line": 4, "column": 7}, "line 4:7"),
        ({"row": 0}, "train row 0"),
    ],
)
def test_places_are_written_from_numbers(failure, place):
    assert broker._failure(frames.Failure(code="SR-DATA-002", **failure)).place == place


INSIDE = sorted(code for code in all_codes() if code.startswith("SR-TRAIN-"))


@pytest.mark.parametrize("code", [*INSIDE, "SR-CRYPTO-001", "SR-ENCLAVE-002", "SR-EVAL-001"])
def test_any_error_of_the_inside_can_be_told(code):
    assert INSIDE
    assert isinstance(broker._failure(frames.Failure(code=code)), StrongroomError)


def test_an_object_that_cannot_be_had_ends_the_enclave(stage):
    class Missing(Exception):
        pass

    def fetch(_request: frames.Fetch) -> Iterator[Buffer]:
        raise Missing
        yield b""

    stage.objects.fetch = fetch  # type: ignore[method-assign]
    run = run_of(stage, 'fetch(frames.Fetch(kind="evaluator"))')
    with pytest.raises(Missing):
        run()
    assert stage.dead


def test_stopping_one_that_does_not_listen(stage, monkeypatch):
    handle = stage.play(
        "signal.signal(signal.SIGTERM, signal.SIG_IGN)\nevidence()\nimport time\ntime.sleep(60)"
    )
    waits = subprocess.Popen.wait
    monkeypatch.setattr(
        subprocess.Popen,
        "wait",
        lambda self, timeout=None: waits(self, None if timeout is None else 0.2),
    )
    handle.stop()
    assert stage.processes[0].returncode == -signal.SIGKILL
    handle.kill()  # again, without harm
