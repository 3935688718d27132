"""One invented run, event by event, and what its plan and buckets say: to make reports from.

Everything agrees with everything else, so that a report finds nothing wrong with it; a test changes
one thing.
"""

from __future__ import annotations

import hashlib
import math
import random
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

import msgspec

from strongroom.audit.events import types
from strongroom.audit.events.entries import RELEASER, Event, new_event
from strongroom.audit.log.verify import Check
from strongroom.audit.report.planned import (
    Planned,
    PlannedBucket,
    PlannedCheckpoint,
    PlannedDataset,
    PlannedKeyset,
    PlannedLease,
    PlannedNumbers,
    PlannedShard,
    Wall,
)

RUN = "feedback-json-7f3a"
FOLDER = f"s3://acme-data/runs/{RUN}/"
ATTEMPTS = tuple(
    """write.tmp write.dev_shm read.passwd read.proc mkdir unlink truncate memfd_create chmod chown
    socket.inet socket.inet6 socket.unix socket.vsock socket.netlink socketpair pipe shm io_uring
    fork exec signal raise_limit ptrace process_memory pidfd perf_event bpf userfaultfd mount
    unshare chroot set_dumpable credentials""".split()  # noqa: SIM905
)
PROBES = (
    dict.fromkeys(ATTEMPTS, "blocked")
    | {"userfaultfd": "absent", "netns": "own", "landlock_abi": "7", "mlock": "locked"}
    | {"seccomp": "2", "no_new_privs": "1", "host_root": "trusted", "core_limit": "0"}
)
DATASETS = (("train", 4), ("held-out", 1))
OBJECTS = (("adapter.sealed", 1_843_200), ("state.sealed", 3_690_128), ("rollouts.sealed", 9_112))
ROLE = "arn:aws:iam::111122223333:role/strongroom"
SHARD_BYTES = 183_220


def digest(name: str) -> str:
    return "sha256:" + hashlib.sha256(name.encode()).hexdigest()


def checkpoint(step: int) -> str:
    return f"{FOLDER}checkpoints/{step:06d}/"


def held_out(phase, step: int, accuracy: float) -> types.EvaluationFinished:
    """What the enclave says of the held-out rows; the evaluator declares two metrics."""
    values = {"evaluator_accuracy": accuracy, "evaluator_brevity": 0.8, "score_mean": 0.9}
    return types.EvaluationFinished(phase=phase, step=step, records=100, values=values)


def released_keys() -> tuple[types.ReleasedKey, ...]:
    kms = {"train": "feedback", "held_out": "feedback", "outputs": "feedback-outputs"}
    return tuple(
        types.ReleasedKey(
            name=name,
            key_id=1000 + at,
            kms=f"vault://transit/{key}",
            commitment=digest(f"commitment {name}"),
            keyset=digest(f"wrapped {name}"),
        )
        for at, (name, key) in enumerate(kms.items())
    )


def said(run: str, actor, data, at: datetime | None = None) -> Event:
    """An event as its role says it: what the releaser does is said by nobody else."""
    caller = RELEASER if actor == "releaser" else "uid:1000"
    return msgspec.structs.replace(new_event(run, actor, data, at=at), caller=caller)


def run_events(run: str = RUN) -> list[Event]:
    """Every event of a run of 60 steps, with curves that look like learning."""
    clock = datetime(2026, 3, 14, 9, 26, 53, 589000, tzinfo=UTC)
    noise = random.Random(4)
    events: list[Event] = []

    def say(actor, data, seconds=1.0):
        nonlocal clock
        clock += timedelta(seconds=seconds)
        events.append(said(run, actor, data, clock))

    def lease(purpose, read=(), create=()):
        expires = clock + timedelta(seconds=900)
        issued = types.LeaseIssued(
            lease=f"lease-{len(events):04d}",
            purpose=purpose,
            role=ROLE,
            bucket="acme-data",
            read=read,
            create=create,
            ttl_s=900,
            expires_at=expires.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        )
        say("broker", issued)

    plan, evidence, measurement = digest("plan"), digest("evidence"), digest("measurement")
    lease("data-read", read=("datasets/feedback/train/", "datasets/feedback/held-out/"))
    say(
        "controller",
        types.RunAdmitted(
            plan=plan,
            policy=digest("policy"),
            rules_passed=12,
            waivers=0,
            base_model=digest("base"),
            evaluator=digest("evaluator"),
            datasets=tuple(
                types.DatasetRef(
                    name=name,
                    uri=f"s3://acme-data/datasets/feedback/{name}/",
                    manifest=digest(name),
                    shards=shards,
                    records=100 * shards,
                )
                for name, shards in DATASETS
            ),
            outputs="s3://acme-data/runs/",
        ),
    )
    say(
        "enclave",
        types.EnclaveStarted(
            measurement=measurement,
            assurance="A1",
            evidence=evidence,
            signing_key="ed25519:" + "A" * 43 + "=",
            probes=dict(PROBES),
        ),
        4,
    )
    say(
        "releaser",
        types.KeyDenied(
            role="train", subject=plan, evidence=digest("stale"), reasons=("nonce_unknown",)
        ),
    )
    say(
        "releaser",
        types.KeyReleased(
            plan=plan,
            evidence=evidence,
            measurement=measurement,
            assurance="A1",
            keys=released_keys(),
        ),
    )
    for name, shards in DATASETS:
        for shard in range(shards):
            opened = types.ShardOpened(
                dataset=name,
                shard=shard,
                sha256=digest(f"{name}{shard}"),
                records=100,
                plaintext_bytes=SHARD_BYTES,
            )
            say("enclave", opened, 0.2)
    say("enclave", held_out("before", 0, 0.54))
    lease("run-create", create=(f"runs/{run}/",))
    written: dict[int, types.CheckpointWritten] = {}
    for step in range(1, 61):
        reward = 0.5 + 0.42 * (1 - math.exp(-step / 16)) + noise.uniform(-0.06, 0.06)
        values = {
            "reward_mean": round(min(reward, 1), 4),
            "zero_variance_share": round(min(0.9, step / 90), 4),
            "kl": round(0.0004 * step, 4),
            "loss": round(noise.uniform(-0.02, 0.02), 4),
        }
        say("enclave", types.TrainingStep(step=step, values=values), 3.4)
        if step % 20 == 0:
            written[step] = types.CheckpointWritten(
                step=step,
                uri=checkpoint(step),
                objects=tuple(
                    types.WrittenObject(name, digest(f"{name}{step}"), size)
                    for name, size in OBJECTS
                ),
                adapter=digest(f"plain{step}"),
                manifest=digest(f"manifest{step}"),
            )
            say("enclave", written[step])
    say("controller", types.TrainingFinished(step=60, reason="steps", chosen=60))
    say("enclave", held_out("after", 60, 0.91))
    chosen = written[60]
    published = types.RunPublished(chosen.uri, chosen.manifest, chosen.adapter, chosen.objects)
    say("controller", published)
    say(
        "controller",
        types.RunCompleted(
            steps=60, seconds=231.7, adapter=chosen.adapter, manifest=chosen.manifest
        ),
    )
    return events


def planned() -> Planned:
    """What the report takes from the run's plan and manifests."""
    return Planned(
        digest=digest("plan"),
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
        policy=digest("policy"),
        rules=12,
        base_model=digest("base"),
        evaluator=digest("evaluator"),
        measurement=digest("measurement"),
        assurance="A1",
        datasets=tuple(
            PlannedDataset(
                name=name,
                uri=f"s3://acme-data/datasets/feedback/{name}/",
                manifest=digest(name),
                shards=shards,
                records=100 * shards,
                pinned=tuple(
                    PlannedShard(digest(f"{name}{shard}"), 100, SHARD_BYTES)
                    for shard in range(shards)
                ),
            )
            for name, shards in DATASETS
        ),
        keysets=tuple(
            PlannedKeyset(key.name, key.kms)
            if key.name == "outputs"
            else PlannedKeyset(key.name, key.kms, key.key_id, key.commitment, key.keyset)
            for key in released_keys()
        ),
        leases=(
            PlannedLease(
                purpose="data-read",
                bucket="acme-data",
                role=ROLE,
                read=("datasets/feedback/held-out/", "datasets/feedback/train/", "models/"),
                create=(),
                ttl_s=900,
            ),
            PlannedLease("run-create", "acme-data", ROLE, (), (f"runs/{RUN}/",), 900),
        ),
        checkpoints=tuple(
            PlannedCheckpoint(
                step, checkpoint(step), checkpoint(step) + "manifest.json", tuple(dict(OBJECTS))
            )
            for step in (20, 40, 60)
        ),
        numbers=PlannedNumbers(
            step_metrics=("kl", "loss", "reward_mean", "zero_variance_share"),
            evaluation_metrics=(
                *("evaluator_accuracy", "evaluator_brevity", "score_mean"),
                *("exposure_max", "exposure_mean"),
            ),
            steps=60,
            checkpoints=3,
            evaluations=0,
        ),
        inputs=tuple(
            f"s3://acme-data/datasets/feedback/{name}/{part}"
            for name, _ in DATASETS
            for part in ("manifest.json", "shard-00000.sealed")
        ),
        output_keyset=FOLDER + "keys.json",
        result=FOLDER + "result.json",
        buckets=(
            PlannedBucket("the log", "s3://acme-audit/strongroom/", True, True, "COMPLIANCE", 30),
            PlannedBucket("the outputs", "s3://acme-data/runs/", True, False, None, None),
        ),
    )


def object_checks(plan: Planned) -> list[Check]:
    """The checks of every object that the plan names: all of them hold."""
    names = [*plan.inputs, plan.output_keyset, plan.result]
    for each in plan.checkpoints:
        names += [each.manifest, *(each.uri + name for name in each.objects)]
    return [Check("Objects", True, name) for name in names]


def walls(probes: Mapping[str, str]) -> dict[str, Wall]:
    """Judges the invented enclave's probes: those it made are those it has to make."""
    good = PROBES | {"host_root": ""}
    found: dict[str, Wall] = dict.fromkeys(PROBES.keys() - probes.keys(), "missing")
    for name, value in probes.items():
        found[name] = "closed" if value == good.get(name) else "open"
        if (name, value) == ("host_root", "trusted"):
            found[name] = "tolerated"
    return found
