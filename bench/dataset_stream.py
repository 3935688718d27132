"""A large dataset through an enclave: how fast it is read, and that memory does not grow with it.

Generates rows (chats of words, about 2:1 compressible), seals them with the product's sealer into
the embedded stack's bucket, and starts a real run on them: controller, brokers, releaser, and an
enclave that authenticates every segment and checks every record. The enclave's resident memory is
sampled from outside the whole time. Once all shards are verified the run is ended, since training
is not what is measured. It fails (exit code 1) when memory after the first shard is not flat.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import logging
import os
import random
import shutil
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import figures
import torch

from strongroom.connectors.buckets.uri import parse
from strongroom.enclave.channel.errors import EnclaveKilled
from strongroom.examples.base_model import CACHE, base_model
from strongroom.pipeline import controller
from strongroom.pipeline.embedded import stack as embedded
from strongroom.pipeline.owner.seal import Sealed, seal
from strongroom.pipeline.releaser.client import ReleaserClient
from strongroom.pipeline.runfile.load import load

FLAT = 1.10
GIB = 1 << 30
TINY_URI = "s3://acme-data/models/tiny/"
EVALUATOR = "def evaluate(messages, ground_truth, **row):\n    return 0.0\n"
RUN_FILE = """
apiVersion: strongroom/v1
kind: TrainingRun
metadata: {name: stream}
spec:
  data: {train: s3://acme-data/datasets/large/, held_out: s3://acme-data/datasets/small/}
  model: {base: s3://acme-data/models/tiny/, digest: "${stack.model_digest}"}
  evaluator: {source: evaluator.py}
  training:
    method: {type: grpo}
    steps: 1
    prompts_per_step: 1
    samples_per_prompt: 2
    max_prompt_tokens: 4096
    learning_rate: 1.0e-3
    warmup_steps: 1
    sampling: {temperature: 1.0, max_tokens: 4}
    engine: {type: hf}
    seed: 1
    checkpoint_every: 1
  outputs: s3://acme-data/runs/
  audit: s3://acme-audit/strongroom/
  access:
    - {uri: s3://acme-data/, role: "${stack.broker_role}", endpoint: "${stack.s3_endpoint}"}
    - {uri: s3://acme-audit/, role: "${stack.audit_role}", endpoint: "${stack.s3_endpoint}"}
  identity:
    type: openbao
    addr: ${stack.vault_addr}
    credentials: ${stack.broker_credentials}
    oidc_role: ${stack.oidc_role}
  keys:
    data: vault://transit/feedback
    outputs: vault://transit/feedback-outputs
    audit: vault://transit/audit-log
    releaser: unix://${stack.releaser_socket}
  enclave: {memory: 4GiB, threads: 1}
  policy: {bundle: "${stack.policy_bundle}"}
"""


class Generator:
    """Rows of random words, always the same: slices of a text too long for zstd's window.

    Some words are never said twice, as names and numbers in real text.
    """

    def __init__(self) -> None:
        rng = random.Random(1)
        letters = "etaoinshrdlucmfwypvbgkjqxz"
        words = ["".join(rng.choices(letters, k=rng.randint(2, 11))) for _ in range(30_000)]
        rare = ["".join(rng.choices(letters, k=8)) for _ in range(1_500_000)]
        self._text = " ".join(rng.sample(rng.choices(words, k=3_500_000) + rare, k=5_000_000))
        self._rng = rng

    def row(self, index: int) -> bytes:
        """One JSONL row of 0.5 to 3 KiB, with its line end."""
        size, start = self._rng.randint(400, 2900), self._rng.randrange(len(self._text) - 4096)
        question = self._text[start : start + size]
        system = "You answer the customer in one word."
        return (
            f'{{"id":"row-{index:09d}","messages":[{{"role":"system","content":"{system}"}},'
            f'{{"role":"user","content":"{question}"}}],"ground_truth":"{question[-7:]}"}}\n'
        ).encode()

    def write(self, path: Path, size_bytes: int) -> int:
        """Rows of ``size_bytes`` in all; returns how many. Memory stays small."""
        rows = written = 0
        with path.open("wb", buffering=4 << 20) as file:
            while written < size_bytes:
                written += file.write(self.row(rows))
                rows += 1
        return rows


@dataclass
class Sampled:
    """A watcher of the run that samples the enclave's memory while shards are verified."""

    done: list[tuple[float, int, int]] = field(default_factory=list)
    """When, how many shards, of how many."""
    resident: list[tuple[float, int]] = field(default_factory=list)
    """When, how many bytes."""
    ended: float = 0.0
    _pid: int = 0

    def stage(self, name: str) -> None:
        """See ``pipeline.run.watcher.Watcher``."""
        if name == "verify":
            self._pid = enclave_pid()
            self.done.append((time.perf_counter(), 0, 0))
            threading.Thread(target=self._sample, daemon=True).start()
        elif self.done and not self.ended:
            self.ended = time.perf_counter()
            os.kill(self._pid, signal.SIGKILL)
        print(f"  {name}", file=sys.stderr)

    def progress(self, activity: str, done: int, total: int) -> None:
        """See ``pipeline.run.watcher.Watcher``."""
        if activity == "verify":
            self.done.append((time.perf_counter(), done, total))

    def step(self, step: int, values: dict[str, float]) -> None:
        """See ``pipeline.run.watcher.Watcher``."""

    def fact(self, text: str) -> None:
        """See ``pipeline.run.watcher.Watcher``."""

    def alarm(self, text: str) -> None:
        """See ``pipeline.run.watcher.Watcher``."""

    def _sample(self) -> None:
        while not self.ended:
            now, size = time.perf_counter(), resident_bytes(self._pid)
            if size:
                self.resident.append((now, size))
            time.sleep(0.05)

    def resident_at(self, share: float) -> int:
        """Resident bytes at this share of the time that verification took."""
        start, end = self.done[0][0], self.done[-1][0]
        moment = start + share * (end - start)
        return min(self.resident, key=lambda sample: abs(sample[0] - moment))[1]

    def flatness(self) -> float:
        """Largest by smallest resident size between the first shard's end and the last's."""
        start, end = self.done[1][0], self.done[-1][0]
        sizes = [size for moment, size in self.resident if start <= moment <= end]
        return max(sizes) / min(sizes)


def resident_bytes(pid: int) -> int:
    """``VmRSS`` of a process; 0 when it is gone."""
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) << 10
    return 0


def enclave_pid() -> int:
    """The enclave: a child of a broker of ours with a child of its own, the evaluator."""
    parents = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                fields = (entry / "stat").read_text().rpartition(") ")[2].split()
                parents[int(entry.name)] = int(fields[1])
    brokers = {pid for pid, parent in parents.items() if parent == os.getpid()}
    found = {pid for pid, parent in parents.items() if parent in brokers}
    (enclave,) = found & set(parents.values())
    return enclave


def tiny_model(folder: Path) -> Path:
    """A random two-layer Llama with the real tokenizer: the model plays no part here."""
    from transformers import LlamaConfig, LlamaForCausalLM

    real = base_model(CACHE)
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=json.loads((real / "config.json").read_text())["vocab_size"],
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=8192,  # random letters make many tokens
        tie_word_embeddings=True,
    )
    LlamaForCausalLM(config).to(torch.bfloat16).save_pretrained(folder)
    for name in ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja"):
        if (real / name).exists():
            shutil.copy(real / name, folder / name)
    return folder


@contextlib.contextmanager
def stack(folder: Path) -> Iterator[embedded.Embedded]:
    """The embedded stack for as long as it is needed."""
    try:
        running = embedded.up(folder / "state")
        embedded.upload_model(running, tiny_model(folder / "tiny"), TINY_URI)
        yield running
    finally:
        embedded.down(folder / "state")


def seal_rows(
    running: embedded.Embedded, source: Path, name: str, records_per_shard: int
) -> Sealed:
    """Seal ``source`` as ``datasets/<name>/``, as ``strongroom seal`` would."""
    target = parse(f"s3://acme-data/datasets/{name}/")
    return seal(
        source,
        target,
        running.owner_bucket(target.key),
        ReleaserClient(running.releaser_socket),
        kms="vault://transit/feedback",
        name=name,
        records_per_shard=records_per_shard,
    )


def measure(folder: Path, size_bytes: int, shard_bytes: int) -> dict[str, Any]:
    """Generate, seal, stream; the figures."""
    generator = Generator()
    large, small = folder / "large.jsonl", folder / "small.jsonl"
    rows = generator.write(large, size_bytes)
    generator.write(small, 20_000)
    plain = large.stat().st_size
    (folder / "evaluator.py").write_text(EVALUATOR)
    (folder / "run.yaml").write_text(RUN_FILE)
    with stack(folder) as running:
        print(f"sealing {rows} rows, {plain / GIB:.2f} GiB", file=sys.stderr)
        started = time.perf_counter()
        sealed = seal_rows(running, large, "large", max(1, rows * shard_bytes // plain))
        seal_s = time.perf_counter() - started
        seal_rows(running, small, "small", 1000)
        large.unlink()
        logging.disable(logging.CRITICAL)  # Beam's word on the end that this bench puts to the run
        loaded = load(folder / "run.yaml", stack=running.variables())
        sampled = Sampled()
        with contextlib.suppress(EnclaveKilled):
            controller.run(loaded, "stream", sampled)
    shards = sealed.manifest.shards
    stored = sum(shard.size_bytes for shard in shards)
    verify_s = sampled.done[-1][0] - sampled.done[0][0]
    return {
        "rows": rows,
        "shards": len(shards),
        "plaintext_gib": round(plain / GIB, 3),
        "ciphertext_gib": round(stored / GIB, 3),
        "seal_seconds": round(seal_s, 1),
        "verify_seconds": round(verify_s, 1),
        "plaintext_gib_per_s": round(plain / GIB / verify_s, 4),
        "ciphertext_gib_per_s": round(stored / GIB / verify_s, 4),
        "rss_mib": {
            str(percent): resident >> 20
            for percent in (10, 50, 100)
            if (resident := sampled.resident_at(percent / 100))
        },
        "rss_samples": len(sampled.resident),
        "rss_max_by_min": round(sampled.flatness(), 4),
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--gib", type=float, default=10.0, help="size of the rows (default 10)")
    parser.add_argument("--shard-mib", type=int, default=256, help="rows per shard (default 256)")
    parser.add_argument("--folder", type=Path, help="where to work (default: a temporary folder)")
    parser.add_argument("--json", action="store_true", help="print one JSON object last")
    args = parser.parse_args()

    with tempfile.TemporaryDirectory(dir=args.folder, prefix="stream-") as scratch:
        needed = int(args.gib * GIB * 1.8) + 2 * GIB  # rows, about half of it sealed, and room
        free = shutil.disk_usage(scratch).free
        if free < needed:
            print(f"{free / GIB:.1f} GiB are free and {needed / GIB:.1f} GiB needed; use --folder")
            return 2
        found = measure(Path(scratch), int(args.gib * GIB), args.shard_mib << 20)
    flat = found["rss_max_by_min"]
    print(f"$ {figures.command()}")
    print(f"sealed      {found['rows']} rows in {found['shards']} shards")
    for kind in ("plaintext", "ciphertext"):
        size, speed = found[f"{kind}_gib"], found[f"{kind}_gib_per_s"]
        print(f"{kind:<10}  {size:7.2f} GiB   {speed:.3f} GiB/s")
    sizes = ", ".join(f"{size} MiB at {share} %" for share, size in found["rss_mib"].items())
    print(f"enclave     {sizes}")
    print(f"max / min   {flat:7.3f}   (bound {FLAT:.2f}, {found['rss_samples']} samples)")
    if args.json:
        found |= {"bound": FLAT, "passed": flat <= FLAT}
        print(figures.document("dataset_stream", found))
    return 0 if flat <= FLAT else 1


if __name__ == "__main__":
    sys.exit(main())
