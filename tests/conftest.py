"""Fixtures that more than one folder of tests needs: the whole stack with a small sealed job.

torch comes first: the Rego interpreter and torch each bring a C++ runtime, and this order of
loading is the one in which they live together. The product never loads both in one process.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch

from strongroom.connectors.buckets.uri import parse
from strongroom.pipeline.embedded import stack as embedded
from strongroom.pipeline.owner.seal import seal
from strongroom.pipeline.releaser.client import ReleaserClient

TINY_URI = "s3://acme-data/models/tiny/"
EVALUATOR = """
def evaluate(messages, ground_truth, **row):
    text = messages[-1]["content"]
    vowels = sum(text.count(vowel) for vowel in "aeiou")
    return {"score": vowels / (len(text) + 1.0), "accuracy": float(ground_truth in text)}
"""
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

    stack: embedded.Embedded
    train: str
    held_out: str
    folder: Path

    def seal_rows(self, name: str, lines: list[str], records_per_shard: int = 8) -> str:
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


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random two-layer Llama with the real tokenizer's files, saved as a model folder."""
    from transformers import LlamaConfig, LlamaForCausalLM

    from strongroom.examples.base_model import CACHE, base_model

    real = base_model(CACHE.expanduser())
    folder = tmp_path_factory.mktemp("model") / "tiny"
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=json.loads((real / "config.json").read_text())["vocab_size"],
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=512,
        tie_word_embeddings=True,
        bos_token_id=1,
        eos_token_id=2,
        pad_token_id=2,
    )
    LlamaForCausalLM(config).to(torch.bfloat16).save_pretrained(folder)
    for name in ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja"):
        if (real / name).exists():
            os.link(real / name, folder / name)
    return folder


@pytest.fixture(scope="session")
def small_job(tmp_path_factory: pytest.TempPathFactory, tiny_model: Path) -> Iterator[SmallJob]:
    """The embedded stack with a tiny sealed job; stopped at the end, whatever happens."""
    state = tmp_path_factory.mktemp("stack") / "state"
    try:
        stack = embedded.up(state)
        embedded.upload_model(stack, tiny_model, TINY_URI)
        job = SmallJob(stack, "", "", tmp_path_factory.mktemp("job"))
        train = job.seal_rows("tiny/train", [tiny_row(index) for index in range(20)])
        held_out = job.seal_rows("tiny/held-out", [tiny_row(index) for index in range(100, 106)])
        yield SmallJob(stack, train, held_out, job.folder)
    finally:
        embedded.down(state)


_FOLDERS = {"e2e": "end-to-end", "attacks": "attacks", "invariants": "invariants"}


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say how many tests of which folder there were, beside pytest's own counts."""
    line = counts_by_folder(terminalreporter.stats)
    if line:
        terminalreporter.write_line(f"of these: {line}")


def counts_by_folder(stats: Mapping[str, Sequence[Any]]) -> str:
    """Tests by folder, such as ``52 end-to-end (51 passed, 1 skipped), 555 attacks (…)``.

    A test that passed and then failed in its teardown counts once, as failed.
    """
    outcomes: dict[str, str] = {}
    for category in ("passed", "skipped", "failed", "error"):
        outcome = "failed" if category == "error" else category
        outcomes |= dict.fromkeys((report.nodeid for report in stats.get(category, ())), outcome)
    found: dict[str, Counter[str]] = {}
    for test, outcome in outcomes.items():
        folder = test.split("/")[1] if test.count("/") > 1 else "other"
        found.setdefault(_FOLDERS.get(folder, folder), Counter())[outcome] += 1
    order = [*_FOLDERS.values(), *sorted(found.keys() - set(_FOLDERS.values()))]
    words = {
        name: ", ".join(f"{number} {outcome}" for outcome, number in sorted(counts.items()))
        for name, counts in found.items()
    }
    return ", ".join(
        f"{found[name].total()} {name} ({words[name]})" for name in order if name in found
    )
