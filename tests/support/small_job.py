"""A small job on the embedded stack: its rows, its run files."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from strongroom.connectors.buckets.uri import parse
from strongroom.pipeline.embedded import stack as embedded
from strongroom.pipeline.embedded.owner import Embedded
from strongroom.pipeline.owner.seal import seal
from strongroom.pipeline.releaser.client import ReleaserClient
from support.shared import STATE, Shared

MODEL_URI = "s3://acme-data/models/tiny/"
EVALUATOR = """
def evaluate(messages, ground_truth, **row):
    text = messages[-1]["content"]
    vowels = sum(text.count(vowel) for vowel in "aeiou")
    return {"score": vowels / (len(text) + 1.0), "accuracy": float(ground_truth in text)}
"""
SLOW: dict[str, Any] = {
    "steps": 6,
    "checkpoint_every": 2,
    "evaluator": """
import time
def evaluate(messages, ground_truth, id):
    time.sleep(0.3 if int(id[4:]) >= 100 else 0.05)
    text = messages[-1]["content"]
    return {"score": len(set(text)) / (len(text) + 1.0), "accuracy": 0.0}
""",
}
"""Settings of runs that are killed: slow enough that a test can see each moment go by."""
RUN_FILE = """
apiVersion: strongroom/v1
kind: TrainingRun
metadata: {{name: tiny}}
spec:
  data:
    train: {train}
    held_out: {held_out}
  model:
    base: s3://acme-data/models/tiny/
    digest: ${{stack.model_digest}}
    lora: {{rank: 4, alpha: 8, targets: [q_proj, v_proj]}}
  evaluator: {{source: {evaluator}, metrics: [accuracy], timeout: 10s}}
  training:
    method: {{type: grpo}}
    steps: {steps}
    prompts_per_step: 2
    samples_per_prompt: 4
    learning_rate: 1.0e-3
    warmup_steps: 1
    sampling: {{temperature: 1.0, max_tokens: 6}}
    engine: {{type: hf}}
    seed: 7
    checkpoint_every: {checkpoint_every}{more}
  outputs: s3://acme-data/runs/
  audit: s3://acme-audit/strongroom/
  access:
    - uri: s3://acme-data/
      role: ${{stack.broker_role}}
      ttl: 15m
      endpoint: ${{stack.s3_endpoint}}
    - uri: s3://acme-audit/
      role: ${{stack.audit_role}}
      ttl: 15m
      endpoint: ${{stack.s3_endpoint}}
  identity:
    type: openbao
    addr: ${{stack.vault_addr}}
    credentials: ${{stack.broker_credentials}}
    oidc_role: ${{stack.oidc_role}}
  keys:
    data: vault://transit/feedback
    outputs: vault://transit/feedback-outputs
    audit: vault://transit/audit-log
    releaser: unix://${{stack.releaser_socket}}
  enclave: {{assurance: {assurance}, memory: 4GiB, threads: 1}}
  policy: {{bundle: "${{stack.policy_bundle}}"}}
"""


@dataclass(frozen=True)
class SmallJob:
    """A running stack with a tiny model and two sealed datasets, and how to make run files."""

    stack: Embedded
    train: str
    held_out: str
    folder: Path

    @classmethod
    def shared(cls, shared: Shared, name: str, model: Path, folder: Path) -> SmallJob:
        """The one of this name in the session, started if need be, with run files in ``folder``."""

        def start(place: Path) -> dict[str, str]:
            stack = embedded.up(place / STATE)
            embedded.upload_model(stack, model, MODEL_URI)
            job = cls(stack, "", "", place)
            return {
                "train": job.seal_rows("tiny/train", map(tiny_row, range(20))),
                "held_out": job.seal_rows("tiny/held-out", map(tiny_row, range(100, 106))),
            }

        sealed = shared.once(name, start)
        return cls(Embedded.load(shared.folder / name / STATE), **sealed, folder=folder)

    def seal_rows(self, name: str, lines: Iterable[str], records_per_shard: int = 8) -> str:
        """Seal these JSONL lines as dataset ``name``; returns its URI."""
        source = self.folder / f"{name.replace('/', '.')}.jsonl"
        source.write_text("".join(line + "\n" for line in lines))
        target = parse(f"s3://acme-data/datasets/{name}/")
        sealed = seal(
            source,
            target,
            self.stack.owner_bucket(target.key),
            ReleaserClient(self.stack.releaser_socket),
            kms="vault://transit/feedback",
            name=name.replace("/", "."),
            records_per_shard=records_per_shard,
        )
        return sealed.uri

    def run_file(
        self,
        name: str,
        *,
        train: str = "",
        held_out: str = "",
        evaluator: str = EVALUATOR,
        steps: int = 4,
        checkpoint_every: int = 2,
        assurance: str = "A1",
        **training: Any,
    ) -> Path:
        """A run file (and its evaluator beside it) for this job; more of ``training`` by name."""
        source = self.folder / f"{name}_evaluator.py"
        source.write_text(evaluator)
        path = self.folder / f"{name}.yaml"
        path.write_text(
            RUN_FILE.format(
                train=train or self.train,
                held_out=held_out or self.held_out,
                evaluator=source.name,
                steps=steps,
                checkpoint_every=checkpoint_every,
                assurance=assurance,
                more="".join(
                    f"\n    {key}: {json.dumps(value)}" for key, value in training.items()
                ),
            )
        )
        return path


def tiny_row(index: int) -> str:
    """One JSONL row."""
    messages = [{"role": "user", "content": f"Say something nice about number {index}."}]
    return json.dumps({"messages": messages, "ground_truth": "a", "id": f"row-{index}"})


def places(path: Path, setting: str) -> list[str]:
    """``file:line:column`` of each value in a run file that follows ``setting``."""
    return [
        f"{path.name}:{number}:{line.index(setting) + len(setting) + 1}"
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if setting in line
    ]
