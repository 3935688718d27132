"""What ``strongroom export`` writes, loaded by vLLM: the adapter beside its base, and merged.

Once from a run in an enclave, where the held-out score that it reported is the oracle; and on the
quickstart's base model with the files of an export, where the trainer's own model is
(``tests/pipeline/keyholder/test_export.py`` shows that the adapter in it is the checkpoint's, byte
for byte). That adapter is a large random one, so that a vLLM that ignored it would be far off.
"""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path
from typing import Any

import pytest
import torch

if importlib.util.find_spec("vllm") is None:
    pytest.skip("vLLM is not installed here; `make test-vllm` has it", allow_module_level=True)
os.environ |= {  # read when vLLM is imported
    "VLLM_CPU_KVCACHE_SPACE": "1",
    "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
    "TORCHDYNAMO_DISABLE": "1",
    "VLLM_NO_USAGE_STATS": "1",
    "DO_NOT_TRACK": "1",
}

from strongroom.enclave.channel.capacity import rounded
from strongroom.examples.base_model import CACHE, base_model
from strongroom.pipeline.keyholder.model_card import adapter_config
from strongroom.trainer.checkpoints.checkpoint import save
from strongroom.trainer.checkpoints.merging import AdapterMerge
from strongroom.trainer.config import LoraConfig, TrainingConfig
from strongroom.trainer.data.chat import Message
from strongroom.trainer.data.rows import Row
from strongroom.trainer.model.base import load_base
from strongroom.trainer.model.lora import Policy, attach_lora
from strongroom.trainer.rollouts.prompts import encode_prompt
from strongroom.trainer.steps.state import new_state

QUESTIONS = ("Name a colour.", "What is two and two?", "Say good day.", "Is snow warm?")
CLOSE = 1e-3
"""Largest difference of a log-probability between two implementations in float32, nats.

Not in bfloat16: on a processor without instructions for it they differ by more than 0.2 here.
"""
ROUNDED = 0.2
"""Largest difference that rounding the merged weights to their bfloat16 may make, nats."""


@pytest.fixture(scope="module")
def base_folder() -> Path:
    return base_model(CACHE.expanduser())


def untrained(folder: Path) -> Policy:
    """The trainer's own model of a folder, whose new adapter changes nothing."""
    files = {path.name: path.read_bytes() for path in folder.iterdir()}
    return attach_lora(load_base(files, torch.float32, 2), LoraConfig(), 0)


@pytest.fixture(scope="module")
def policy(base_folder: Path) -> Policy:
    policy = untrained(base_folder)
    noise = torch.randn(policy.flat.shape, generator=torch.Generator().manual_seed(1))
    policy.flat.add_(0.1 * noise)
    return policy


@pytest.fixture(scope="module")
def exported(policy: Policy, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An adapter's folder, as an export writes it."""
    folder = tmp_path_factory.mktemp("adapter")
    config = TrainingConfig(steps=1, prompts_per_step=1, samples_per_prompt=2, learning_rate=1e-4)
    checkpoint = save(policy, new_state(policy, config), config)
    (folder / "adapter_model.safetensors").write_bytes(checkpoint.adapter)
    (folder / "adapter_config.json").write_bytes(adapter_config(policy.lora, "s3://base/"))
    return folder


@pytest.fixture(scope="module")
def merged(exported: Path, base_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The merged model's folder, as an export writes it."""
    folder = tmp_path_factory.mktemp("merged")
    merging = AdapterMerge((exported / "adapter_model.safetensors").read_bytes())
    for path in base_folder.iterdir():
        data = bytearray(path.read_bytes())
        if path.suffix == ".safetensors":
            merging.add_to(data)
        (folder / path.name).write_bytes(data)
    merging.check_complete()
    return folder


def prompts(policy: Policy) -> list[list[int]]:
    rows = [Row(messages=(Message(role="user", content=text),)) for text in QUESTIONS]
    return [encode_prompt(policy, row) for row in rows]


def next_logprobs(policy: Policy) -> list[torch.Tensor]:
    """The trainer's distribution over the first token of each answer."""
    found = []
    with torch.no_grad():
        for tokens in prompts(policy):
            hidden = policy.decoder(input_ids=torch.tensor([tokens])).last_hidden_state[0, -1]
            found.append(torch.log_softmax(policy.logits(hidden), dim=-1))
    return found


def engine(folder: Path, dtype: str = "float32", **settings: Any) -> Any:
    """vLLM on a model's folder, on the CPU, in this process."""
    from vllm import LLM

    return LLM(
        str(folder),
        dtype=dtype,
        enforce_eager=True,
        max_model_len=256,
        max_num_seqs=8,
        **settings,
    )


def likeliest(llm: Any, policy: Policy, adapter: Path | None = None) -> list[tuple[int, float]]:
    """vLLM's first token of each answer and its log-probability."""
    from vllm import SamplingParams
    from vllm.lora.request import LoRARequest

    request = LoRARequest("exported", 1, str(adapter)) if adapter else None
    answers = llm.generate(
        [{"prompt_token_ids": tokens} for tokens in prompts(policy)],
        SamplingParams(temperature=0.0, max_tokens=1, logprobs=0),
        lora_request=request,
        use_tqdm=False,
    )
    tokens = [answer.outputs[0].token_ids[0] for answer in answers]
    return [
        (token, answer.outputs[0].logprobs[0][token].logprob)
        for token, answer in zip(tokens, answers, strict=True)
    ]


def gaps(found: list[tuple[int, float]], ours: list[torch.Tensor]) -> list[float]:
    return [
        abs(logprob - distribution[token].item())
        for (token, logprob), distribution in zip(found, ours, strict=True)
    ]


def test_vllm_loads_the_adapter_and_agrees(
    policy: Policy, base_folder: Path, exported: Path
) -> None:
    llm = engine(base_folder, enable_lora=True, max_loras=1, max_lora_rank=8)
    ours = next_logprobs(policy)
    assert max(gaps(likeliest(llm, policy, exported), ours)) < CLOSE
    # Controls: without the adapter vLLM is the base model, and that is far away.
    base = likeliest(llm, policy)
    with policy.reference():
        assert max(gaps(base, next_logprobs(policy))) < CLOSE
    assert min(gaps(base, ours)) > 10 * ROUNDED


def test_vllm_loads_the_merged_model_and_agrees(policy: Policy, merged: Path) -> None:
    found = likeliest(engine(merged), policy)
    assert max(gaps(found, next_logprobs(untrained(merged)))) < CLOSE
    assert max(gaps(found, next_logprobs(policy))) < ROUNDED


def held_out_score(llm: Any, policy: Policy, adapter: Path | None) -> float:
    """What the small job's evaluator gives to vLLM's greedy answers to the held-out rows."""
    from vllm import SamplingParams
    from vllm.lora.request import LoRARequest

    questions = [f"Say something nice about number {index}." for index in range(100, 106)]
    rows = [Row(messages=(Message(role="user", content=text),)) for text in questions]
    answers = llm.generate(
        [{"prompt_token_ids": encode_prompt(policy, row)} for row in rows],
        SamplingParams(temperature=0.0, max_tokens=6),
        lora_request=LoRARequest("tuned", 1, str(adapter)) if adapter else None,
        use_tqdm=False,
    )
    texts = [answer.outputs[0].text for answer in answers]
    vowels = [sum(text.count(vowel) for vowel in "aeiou") for text in texts]
    shares = [count / (len(text) + 1.0) for count, text in zip(vowels, texts, strict=True)]
    return rounded(sum(shares) / len(shares))


def test_an_exported_run_scores_in_vllm_what_its_enclave_reported(
    strongroom: Any,
    events: Any,
    finished: Any,
    run_file: Path,
    tiny_model: Path,
    policy: Policy,
    tmp_path: Path,
) -> None:
    reported = {
        each.phase: each.values["score_mean"]
        for each in events(finished["run"], "evaluation.finished")
    }
    strongroom("export", finished["run"], "--to", tmp_path / "adapter")
    precision = strongroom("plan", run_file)["plan"]["model"]["precision"]
    llm = engine(tiny_model, precision, enable_lora=True, max_loras=1, max_lora_rank=8)
    assert held_out_score(llm, policy, tmp_path / "adapter") == reported["after"]
    assert held_out_score(llm, policy, None) == reported["before"] != reported["after"]
