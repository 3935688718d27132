"""Fixtures that more than one folder of tests needs: the whole stack with a small sealed job.

torch comes first: the Rego interpreter and torch each bring a C++ runtime, and this order of
loading is the one in which they live together. The product never loads both in one process.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

from strongroom.pipeline.embedded import stack as embedded
from support.small_job import MODEL_URI, SmallJob, tiny_row


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
        embedded.upload_model(stack, tiny_model, MODEL_URI)
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
