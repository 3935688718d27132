"""What the sandbox costs a training step: the same training inside and outside, side by side.

Two enclaves, both the product's own worker started as a broker starts it, train the quickstart's
model on the quickstart's rows with its evaluator: one at A0 (no sandbox), one at A1. They take
turns, step by step: while one takes its step the other is stopped, so that a slow moment of the
machine falls on both. Both draw the same tokens, so a pair of steps is the same work, which is
checked. The ratio is the median over the pairs, by wall clock; the CPU time is printed beside it,
as it suffers less from whatever else the machine does. It passes when the whole 95 % interval
of the ratio lies within the bound; otherwise it exits with 1, and where the bound lies inside the
interval it says that it cannot tell.

Here this process stands for the broker and for the key owner's releaser, and the rows are public.
"""

from __future__ import annotations

import argparse
import base64
import json
import math
import os
import queue
import signal
import statistics
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import figures
import zstandard
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from strongroom.crypto.digests import Sha256, sha256
from strongroom.crypto.dsse import key_ref, sign_envelope
from strongroom.crypto.keyset import Keyset
from strongroom.crypto.manifest import (
    DATASET_TYPE,
    DatasetManifest,
    Shard,
    WrappedKeyset,
    encode,
    encode_header,
    shard_identity,
    shard_name,
)
from strongroom.crypto.release import seal_keys
from strongroom.enclave.assurance import Assurance
from strongroom.enclave.broker import EnclaveHandle
from strongroom.enclave.channel import frames
from strongroom.enclave.evidence import evidence_digest
from strongroom.enclave.measurement import measure
from strongroom.enclave.plan.derived import Found, derive, model_digest
from strongroom.enclave.plan.document import Plan
from strongroom.enclave.plan.parts import (
    BucketFacts,
    CodeFacts,
    DatasetFacts,
    KeyFacts,
    KmsFacts,
    ModelFile,
    PlanFacts,
    PolicyFacts,
    Source,
)
from strongroom.errors import StrongroomError
from strongroom.examples.base_model import base_model, model_files
from strongroom.examples.feedback.prepare import rows as feedback_rows
from strongroom.examples.packages import CACHE

BOUND = 1.02
EVALUATOR = Path(__file__).parent.parent / "examples" / "feedback" / "evaluator.py"
METRICS = ("accuracy",)
RUN = "sandbox-cost"
KMS = "local:///bench/keys#data"
WARM_PAIRS = 2


class Sealed:
    """One dataset, sealed in memory as ``enclave.roles.seal`` would into a bucket."""

    def __init__(self, name: str, rows: list[dict[str, Any]]) -> None:
        self.keyset = Keyset.generate()
        lines = b"".join(json.dumps(row).encode() + b"\n" for row in rows)
        compressed = zstandard.ZstdCompressor(level=3).compress(lines)
        ad = shard_identity(name, self.keyset.key_id, 0, len(rows))
        self.shard = bytes(self.keyset.streaming().seal(compressed, ad))
        manifest = DatasetManifest(
            name=name,
            records=len(rows),
            keyset=WrappedKeyset(
                kms=KMS,
                context={"dataset": name},
                wrapped="bench",
                key_id=self.keyset.key_id,
                commitment=self.keyset.commitment(),
            ),
            shards=(
                Shard(
                    index=0,
                    object=shard_name(0),
                    header=encode_header(self.shard[:40]),
                    size_bytes=len(self.shard),
                    sha256=sha256(self.shard),
                    records=len(rows),
                    plaintext_bytes=len(compressed),
                ),
            ),
        )
        signer = Ed25519PrivateKey.generate()
        reference = key_ref(signer.public_key().public_bytes_raw())
        self.envelope = sign_envelope(DATASET_TYPE, encode(manifest), reference, signer.sign)
        self.facts = DatasetFacts.of(self.envelope, reference, manifest)


@dataclass(frozen=True)
class Job:
    """Everything that both enclaves read: they get the same bytes."""

    model: dict[str, bytes]
    data: dict[str, Sealed]
    evaluator: bytes
    outputs: Keyset

    def plan(self, steps: int, threads: int) -> Plan:
        """The plan that both enclaves attest to, as far as it is about them."""
        files = tuple(
            ModelFile(name=name, size_bytes=len(data), sha256=sha256(data))
            for name, data in self.model.items()
        )
        uris = {name: f"local:///bench/{name}/" for name in self.data}
        unseen = BucketFacts(versioned=True, object_lock=True)
        held = KeyFacts(owner="bench", state="held")
        found = Found(
            **{name: sealed.facts.at(uris[name]) for name, sealed in self.data.items()},
            evaluator=Source(sha256=sha256(self.evaluator), size_bytes=len(self.evaluator)),
            files=files,
            precision=figures.run_precision(),
            code=CodeFacts(measurement=measure(), python="", packages={}),
            policy=PolicyFacts(digest=sha256(b""), rules=()),
            facts=PlanFacts(
                data_bucket=unseen,
                outputs_bucket=unseen,
                audit_bucket=unseen,
                kms=KmsFacts(data=held, outputs=held, audit=held),
            ),
            sizes={
                uri: size
                for name, sealed in self.data.items()
                for uri, size in sealed.facts.sizes(uris[name]).items()
            },
        )
        training = {
            "method": {"type": "grpo", "clip": 0.2, "kl": 0.0},
            "steps": steps,
            "prompts_per_step": 4,
            "samples_per_prompt": 8,
            "learning_rate": 5.0e-4,
            "sampling": {"temperature": 1.0, "max_tokens": 10},
            "engine": {"type": "hf"},
            "seed": 0,
            "checkpoint_every": steps,
        }
        lora = {"rank": 8, "alpha": 16, "targets": ["q_proj", "k_proj", "v_proj", "o_proj"]}
        evaluator = {
            "source": EVALUATOR.name,
            "sealed": None,
            "metrics": list(METRICS),
            "timeout": "10s",
            "range": None,
            "concurrency": 1,
        }
        spec = {
            "data": uris,
            "model": {
                "base": "local:///bench/model/",
                "digest": model_digest(files),
                "lora": lora,
                "precision": "auto",
            },
            "evaluator": evaluator,
            "training": training,
            "outputs": "local:///bench/runs/",
            "audit": "local:///bench/audit/",
            "access": [],
            "keys": {"data": KMS, "outputs": KMS, "audit": "local:///bench/keys#audit"},
            "enclave": {"assurance": "A1", "memory": "8GiB", "threads": threads},
        }
        return derive(RUN, {"spec": spec}, found)

    # ---- enclave.broker.Objects, from memory ---------------------------------------------------

    def fetch(self, request: frames.Fetch) -> Iterator[bytes]:
        """See ``enclave.broker.Objects.fetch``."""
        match request.kind:
            case "model":
                yield self.model[sorted(self.model)[request.index]]
            case "evaluator":
                yield self.evaluator
            case "manifest":
                yield self.data[request.dataset].envelope
            case "shard":
                yield self.data[request.dataset].shard

    def put(self, artifact: str, step: int, data: bytes) -> None:
        """What is written is of no interest here."""

    def put_manifest(self, step: int, envelope: bytes) -> Sha256:
        """See ``put``."""
        return sha256(envelope)


@dataclass(frozen=True)
class Step:
    """One step: what it took, and its numbers, to compare."""

    wall_s: float
    cpu_s: float
    values: dict[str, float]


class Trainee:
    """One enclave that takes a step when told to, and stands still otherwise."""

    def __init__(self, job: Job, assurance: Assurance, steps: int, threads: int) -> None:
        self._done: queue.Queue[Step | StrongroomError] = queue.Queue()
        self._started = self._cpu = 0.0
        self._steps = steps
        plan = job.plan(steps, threads)
        self._handle = EnclaveHandle(
            plan=plan.to_json(),
            nonce="sandbox-cost-nonce",
            assurance=assurance,
            threads=threads,
            run=RUN,
            limits=plan.limits,
            objects=job,
            notify=self._reported,
        )
        evidence = self._handle.evidence
        self.seccomp = evidence.probes["seccomp"]
        keysets = {name: dataset.keyset for name, dataset in job.data.items()}
        public = base64.b64decode(evidence.hpke_key)
        self._handle.give_keys(
            seal_keys({**keysets, "outputs": job.outputs}, public, evidence_digest(evidence))
        )
        threading.Thread(target=self._train, daemon=True).start()
        self._await()  # the first step also loads the rows; it ends with the process stopped

    def step(self) -> Step:
        """Let it take one step."""
        self._started, self._cpu = time.perf_counter(), cpu_seconds(self._handle.pid)
        os.kill(self._handle.pid, signal.SIGCONT)
        return self._await()

    def kill(self) -> None:
        """End it."""
        os.kill(self._handle.pid, signal.SIGKILL)

    def _train(self) -> None:
        try:
            self._handle.run(frames.Train(from_step=0, to_step=self._steps))
        except StrongroomError as error:
            self._done.put(error)

    def _reported(self, record: frames.Report) -> None:
        if isinstance(record, frames.StepDone):
            os.kill(self._handle.pid, signal.SIGSTOP)
            wall = time.perf_counter() - self._started
            cpu = cpu_seconds(self._handle.pid) - self._cpu
            self._done.put(Step(wall, cpu, record.values))

    def _await(self) -> Step:
        outcome = self._done.get()
        if isinstance(outcome, StrongroomError):
            raise outcome
        return outcome


def cpu_seconds(pid: int) -> float:
    """CPU time of a process's threads, to the nanosecond."""
    total = 0
    for task in Path(f"/proc/{pid}/task").iterdir():
        total += int((task / "schedstat").read_text().split()[0])
    return total / 1e9


def same_work(one: Step, other: Step) -> bool:
    """Whether two steps sampled and learned the same; times differ, of course."""
    timed = ("seconds_", "tokens_per_second")
    return all(
        other.values[name] == value
        for name, value in one.values.items()
        if not name.startswith(timed)
    )


def interval_95(values: list[float]) -> tuple[float, float]:
    """Where the median lies with 95 % confidence, whatever the distribution (order statistics)."""
    ordered = sorted(values)
    out = max(0, math.floor(len(ordered) / 2 - 0.98 * math.sqrt(len(ordered))))
    return ordered[out], ordered[-1 - out]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=180, help="pairs of steps (default 180)")
    parser.add_argument("--threads", type=int, default=min(2, os.cpu_count() or 1))
    parser.add_argument("--json", action="store_true", help="print one JSON object last")
    args = parser.parse_args()

    train, held_out = feedback_rows(CACHE)
    job = Job(
        model=model_files(base_model(CACHE)),
        data={"train": Sealed("bench.train", train), "held_out": Sealed("bench.held", held_out)},
        evaluator=EVALUATOR.read_bytes(),
        outputs=Keyset.generate(),
    )
    total = args.steps + WARM_PAIRS + 2  # one while loading, and one that is never reached
    levels: tuple[Assurance, Assurance] = ("A0", "A1")
    trainees: dict[Assurance, Trainee] = {}
    try:
        for assurance in levels:
            trainees[assurance] = Trainee(job, assurance, total, args.threads)
        pairs = []
        for index in range(WARM_PAIRS + args.steps):
            first, second = levels if index % 2 else levels[::-1]
            taken = {first: trainees[first].step(), second: trainees[second].step()}
            pairs.append((taken["A0"], taken["A1"]))
            print(f"\rpair {index + 1} of {WARM_PAIRS + args.steps}", end="", file=sys.stderr)
        print(file=sys.stderr)
    finally:
        for trainee in trainees.values():
            trainee.kill()
    pairs = pairs[WARM_PAIRS:]
    same = sum(same_work(*pair) for pair in pairs)
    ratios = [inside.wall_s / outside.wall_s for outside, inside in pairs]
    cpu_ratios = [inside.cpu_s / outside.cpu_s for outside, inside in pairs]
    ratio, cpu_ratio = statistics.median(ratios), statistics.median(cpu_ratios)
    without = statistics.median(outside.wall_s for outside, _ in pairs)
    within = statistics.median(inside.wall_s for _, inside in pairs)
    low, high = interval_95(ratios)
    conclusive = high <= BOUND or low > BOUND  # noise must not pass for a result
    print(f"$ {figures.command()}")
    print(f"A0, seccomp {trainees['A0'].seccomp}   {without:7.3f} s per step")
    print(f"A1, seccomp {trainees['A1'].seccomp}   {within:7.3f} s per step")
    print(f"ratio             {ratio:7.3f}   (bound {BOUND}, 95 %: {low:.3f} to {high:.3f})")
    print(f"ratio of CPU time {cpu_ratio:7.3f}")
    print(f"pairs             {len(pairs):7}   ({same} of them with the same numbers)")
    if not conclusive:
        print("inconclusive: the bound lies inside the interval; the machine is too busy to tell")
    passed = high <= BOUND and same == len(pairs)
    if args.json:
        found = {
            "threads": args.threads,
            "steps": len(pairs),
            "same_work": same,
            "seconds_a0": round(without, 4),
            "seconds_a1": round(within, 4),
            "ratio": round(ratio, 4),
            "ratio_95": [round(low, 4), round(high, 4)],
            "conclusive": conclusive,
            "ratio_cpu": round(cpu_ratio, 4),
            "bound": BOUND,
            "passed": passed,
        }
        print(figures.document("sandbox_cost", found))
    return 0 if passed else 1


if __name__ == "__main__":
    sys.exit(main())
