"""Stores that fail on demand, keys, and one invented run to build logs and reports from."""

from __future__ import annotations

import hashlib
import math
import random
import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from strongroom.audit.events import types
from strongroom.audit.events.entries import Event, new_event
from strongroom.audit.log.store import LogStore
from strongroom.audit.log.writer import AuditLog
from strongroom.audit.report.model import Planned

ORIGIN = "acme-audit/strongroom"

ATTEMPTS = tuple(
    """write.tmp write.dev_shm read.passwd read.proc mkdir unlink truncate memfd_create chmod chown
    socket.inet socket.inet6 socket.unix socket.vsock socket.netlink socketpair pipe shm io_uring
    fork exec signal raise_limit ptrace process_memory pidfd perf_event bpf userfaultfd mount
    unshare chroot set_dumpable credentials""".split()  # noqa: SIM905
)


class MemoryStore:
    """A log in memory, atomic as a bucket is."""

    def __init__(self) -> None:
        self.objects: dict[str, tuple[bytes, str]] = {}
        self._versions = 0
        self._lock = threading.Lock()

    def read(self, key: str) -> tuple[bytes, str] | None:
        with self._lock:
            return self.objects.get(key)

    def create(self, key: str, data: bytes) -> bool:
        with self._lock:
            if key in self.objects:
                return False
            self._put(key, data)
            return True

    def replace(self, key: str, data: bytes, etag: str) -> bool:
        with self._lock:
            if key not in self.objects or self.objects[key][1] != etag:
                return False
            self._put(key, data)
            return True

    def keys(self) -> list[str]:
        return sorted(self.objects)

    def _put(self, key: str, data: bytes) -> None:
        self._versions += 1
        self.objects[key] = (bytes(data), str(self._versions))


class FailingStore:
    """Passes calls on, and raises ``error`` at the ``at``-th one, before or after its effect."""

    def __init__(self, store: LogStore, at: int, error: BaseException, *, after: bool) -> None:
        self.calls = 0
        self._store = store
        self._at = at
        self._error = error
        self._after = after

    def _call(self, method: Callable[..., object], *args: object) -> object:
        self.calls += 1
        hit = self.calls == self._at
        if hit and not self._after:
            raise self._error
        result = method(*args)
        if hit:
            raise self._error
        return result

    def read(self, key: str):
        return self._call(self._store.read, key)

    def create(self, key: str, data: bytes):
        return self._call(self._store.create, key, data)

    def replace(self, key: str, data: bytes, etag: str):
        return self._call(self._store.replace, key, data, etag)


class LogMaker:
    """One log key, and writers that share it."""

    def __init__(self) -> None:
        self.private_key = Ed25519PrivateKey.generate()
        self.public_key = self.private_key.public_key().public_bytes_raw()
        self.origin = ORIGIN

    def writer(self, store: LogStore) -> AuditLog:
        return AuditLog(store, self.origin, self.private_key.sign, self.public_key)

    @property
    def vkey(self) -> str:
        return self.writer(MemoryStore()).key.vkey()


@pytest.fixture
def maker() -> LogMaker:
    return LogMaker()


@pytest.fixture
def memory() -> MemoryStore:
    return MemoryStore()


@pytest.fixture
def failing() -> type[FailingStore]:
    return FailingStore


def digest(name: str) -> str:
    return "sha256:" + hashlib.sha256(name.encode()).hexdigest()


def held_out(phase, step: int, accuracy: float) -> types.EvaluationFinished:
    """What the enclave says of the held-out rows; the evaluator declares two metrics."""
    values = {"evaluator_accuracy": accuracy, "evaluator_brevity": 0.8, "score_mean": 0.9}
    return types.EvaluationFinished(phase=phase, step=step, records=100, values=values)


def invented_run(run: str = "feedback-json-7f3a") -> list[Event]:
    """Every event of a run of 60 steps, with curves that look like learning."""
    clock = datetime(2026, 3, 14, 9, 26, 53, 589000, tzinfo=UTC)
    noise = random.Random(4)
    events: list[Event] = []

    def say(actor, data, seconds=1.0):
        nonlocal clock
        clock += timedelta(seconds=seconds)
        events.append(new_event(run, actor, data, at=clock))

    plan, policy = digest("plan"), digest("policy")
    evidence, measurement = digest("evidence"), digest("measurement")
    datasets = tuple(
        types.DatasetRef(
            name=name,
            uri=f"s3://acme-data/datasets/feedback/{name}/",
            manifest=digest(name),
            shards=shards,
            records=records,
        )
        for name, shards, records in (("train", 4, 400), ("held-out", 1, 100))
    )
    say(
        "controller",
        types.RunAdmitted(
            plan=plan,
            policy=policy,
            rules_passed=12,
            waivers=0,
            base_model=digest("base"),
            evaluator=digest("evaluator"),
            datasets=datasets,
            outputs=f"s3://acme-data/runs/{run}/",
        ),
    )

    def lease(purpose, read=(), create=()):
        say(
            "broker",
            types.LeaseIssued(
                lease=f"lease-{len(events):04d}",
                purpose=purpose,
                role="arn:aws:iam::111122223333:role/strongroom",
                bucket="acme-data",
                read=read,
                create=create,
                ttl_s=900,
                expires_at=(clock + timedelta(seconds=900))
                .isoformat(timespec="milliseconds")
                .replace("+00:00", "Z"),
            ),
        )

    lease("read-data", read=("datasets/feedback/train/", "datasets/feedback/held-out/"))
    say(
        "releaser",
        types.EnclaveStarted(
            measurement=measurement,
            assurance="A1",
            evidence=evidence,
            signing_key="ed25519:" + "A" * 43 + "=",
            probes=dict.fromkeys(ATTEMPTS, "blocked")
            | {"userfaultfd": "absent", "netns": "own", "landlock_abi": "7", "mlock": "locked"}
            | {"seccomp": "2", "no_new_privs": "1", "host_root": "trusted", "core_limit": "0"},
        ),
        4,
    )
    say(
        "releaser",
        types.KeyDenied(plan=plan, evidence=digest("stale"), reasons=("nonce_unknown",)),
    )
    say(
        "releaser",
        types.KeyReleased(
            plan=plan,
            evidence=evidence,
            measurement=measurement,
            assurance="A1",
            keys=(
                types.ReleasedKey(
                    name="feedback",
                    key_id=1839207,
                    kms="vault://transit/feedback",
                    commitment=digest("key 1"),
                    keyset=digest("wrapped"),
                ),
                types.ReleasedKey(
                    name="outputs",
                    key_id=99120,
                    kms="vault://transit/feedback-outputs",
                    commitment=digest("key 2"),
                    keyset=digest("wrapped"),
                ),
            ),
        ),
    )
    for ref in datasets:
        for shard in range(ref.shards):
            say(
                "enclave",
                types.ShardOpened(
                    dataset=ref.name,
                    shard=shard,
                    sha256=digest(f"{ref.name}{shard}"),
                    records=100,
                    plaintext_bytes=183_220,
                ),
                0.2,
            )
    say(
        "enclave",
        held_out("before", 0, 0.54),
    )
    lease("write-run", create=(f"runs/{run}/",))
    for step in range(1, 61):
        reward = 0.5 + 0.42 * (1 - math.exp(-step / 16)) + noise.uniform(-0.06, 0.06)
        say(
            "enclave",
            types.TrainingStep(
                step=step,
                values={
                    "reward_mean": round(min(reward, 1), 4),
                    "zero_variance_share": round(min(0.9, step / 90), 4),
                    "kl": round(0.0004 * step, 4),
                    "loss": round(noise.uniform(-0.02, 0.02), 4),
                },
            ),
            3.4,
        )
        if step % 20 == 0:
            written = tuple(
                types.WrittenObject(name=name, sha256=digest(f"{name}{step}"), size_bytes=size)
                for name, size in (("adapter.sealed", 1_843_200), ("state.sealed", 3_690_128))
            )
            say(
                "broker",
                types.CheckpointWritten(
                    step=step,
                    uri=f"s3://acme-data/runs/{run}/checkpoints/{step}/",
                    objects=written,
                    adapter=digest(f"plain{step}"),
                    manifest=digest(f"manifest{step}"),
                ),
            )
    say("controller", types.TrainingFinished(step=60, reason="steps", chosen=60))
    say(
        "enclave",
        held_out("after", 60, 0.91),
    )
    say(
        "broker",
        types.RunPublished(
            uri=f"s3://acme-data/runs/{run}/checkpoints/60/",
            manifest=digest("manifest60"),
            adapter=digest("plain60"),
            objects=written,
        ),
    )
    say(
        "controller",
        types.RunCompleted(
            steps=60, seconds=231.7, adapter=digest("plain60"), manifest=digest("manifest60")
        ),
    )
    return events


@pytest.fixture
def run_events() -> list[Event]:
    return invented_run()


@pytest.fixture
def plan() -> Planned:
    """What the report takes from the run's plan."""
    return Planned(
        outputs="s3://acme-data/runs/",
        model_uri="s3://acme-data/models/smollm2-135m-instruct/",
        keys=(
            ("audit", "vault://transit/audit-log"),
            ("data", "vault://transit/feedback"),
            ("outputs", "vault://transit/feedback-outputs"),
        ),
        method="grpo",
        metrics=("accuracy", "brevity"),
        capacity_bits=23_811,
    )


@pytest.fixture
def digest_of() -> Callable[[str], str]:
    return digest
