"""One vLLM engine on the quickstart's base model, in this process, for all tests of this folder.

``make test-vllm`` runs them in an environment of its own; ``make test`` leaves the folder out.
"""

import json
import os
import subprocess
import sys

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from strongroom.examples.base_model import base_model, model_files
from strongroom.examples.feedback.prepare import rows as feedback_rows
from strongroom.examples.packages import CACHE
from strongroom.trainer.config import LoraConfig, Sampling, TrainingConfig, VllmEngine
from strongroom.trainer.data.rows import decode_row
from strongroom.trainer.engines import vllm
from strongroom.trainer.engines.scratch import FolderScratch
from strongroom.trainer.model.base import load_base
from strongroom.trainer.model.lora import attach_lora
from strongroom.trainer.rollouts.prompts import encode_prompt
from support.auditor import Auditor

RUN = "vllm-run"


@pytest.fixture(scope="session")
def files():
    return model_files(base_model(CACHE))


@pytest.fixture(scope="session")
def rows():
    """Real rows of the quickstart's task."""
    return [decode_row(json.dumps(row).encode()) for row in feedback_rows(CACHE)[0]]


@pytest.fixture(scope="session")
def config():
    return TrainingConfig(
        steps=3,
        prompts_per_step=4,
        samples_per_prompt=8,
        learning_rate=2e-3,
        warmup_steps=0,
        sampling=Sampling(temperature=1.0, max_tokens=10),
        engine=VllmEngine(kv_cache_mib=256),
        max_prompt_tokens=300,
    )


@pytest.fixture(scope="session")
def policy(files):
    """The base in the enclave's type, with an adapter on all kinds of layers.

    vLLM holds q, k and v in one layer and gate and up in another; of those only up has one here.
    """
    targets = ("q_proj", "k_proj", "v_proj", "o_proj", "up_proj", "down_proj")
    lora = LoraConfig(rank=8, alpha=16, targets=targets)
    return attach_lora(load_base(files, torch.bfloat16, threads=2), lora, seed=0)


@pytest.fixture(scope="session")
def engine(config, policy, files, tmp_path_factory):
    return vllm.start(config, policy, files, FolderScratch(tmp_path_factory.mktemp("scratch")))


@pytest.fixture(scope="session")
def prompts(policy, rows):
    return [encode_prompt(policy, row) for row in rows[:16]]


@pytest.fixture
def adapter(policy):
    """Gives the adapter weights that matter, drawn from a seed; all as before after the test."""
    before = policy.flat.clone()

    def draw(seed, size=0.04):
        noise = torch.randn(policy.flat.shape, generator=torch.Generator().manual_seed(seed))
        policy.flat.copy_(before + size * noise)

    yield draw
    policy.flat.copy_(before)


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory):
    """The stack's tiny model (see ``tests/conftest.py``) with heads of a size that vLLM knows."""
    real = base_model(CACHE)
    folder = tmp_path_factory.mktemp("model") / "tiny"
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=json.loads((real / "config.json").read_text())["vocab_size"],
        hidden_size=128,
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
        os.link(real / name, folder / name)
    return folder


@pytest.fixture(scope="session")
def strongroom(small_job):
    """The command, to its end; the JSON that it printed last."""

    def run(*arguments):
        words = [*map(str, arguments), "--state", str(small_job.stack.state), "--json"]
        command = [sys.executable, "-m", "strongroom", *words]
        done = subprocess.run(command, capture_output=True, text=True, timeout=1500)
        assert done.returncode == 0, done.stdout + done.stderr
        return json.loads(done.stdout.splitlines()[-1])

    return run


@pytest.fixture(scope="session")
def events(small_job):
    """A run's events, from the verified log, by type."""
    auditor = Auditor(small_job.stack)

    def of(run, kind):
        found = [event.data for event in auditor.events(run)]
        return [data for data in found if data.__struct_config__.tag == kind]

    return of


@pytest.fixture(scope="session")
def run_file(small_job):
    path = small_job.run_file(RUN, steps=4, checkpoint_every=2)
    text = path.read_text()
    for old, new in (
        ("engine: {type: hf}", "engine: {type: vllm, kv_cache_mib: 64}"),
        # Large steps, so that a sampler that lags behind by one would be seen in the gap.
        ("learning_rate: 1.0e-3", "learning_rate: 5.0e-2"),
    ):
        assert old in text
        text = text.replace(old, new)
    path.write_text(text)
    return path


@pytest.fixture(scope="session")
def finished(strongroom, run_file):
    return strongroom("run", run_file, "--id", RUN)
