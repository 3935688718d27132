"""Prints the gap between vLLM's and the trainer's log-probabilities in float32, as JSON."""

import json
import sys
import tempfile
from pathlib import Path

import torch

from strongroom.examples.base_model import base_model, model_files
from strongroom.examples.packages import CACHE
from strongroom.trainer.config import LoraConfig, Sampling, TrainingConfig, VllmEngine
from strongroom.trainer.engines import vllm
from strongroom.trainer.engines.scratch import FolderScratch
from strongroom.trainer.model.base import load_base
from strongroom.trainer.model.lora import attach_lora
from strongroom.trainer.steps.batch import pack_groups
from strongroom.trainer.steps.logprobs import completion_logprobs

PROMPTS = ("The capital of France is", "Count: one, two, three,", "My cat likes to")


def main():
    files = model_files(base_model(CACHE))
    policy = attach_lora(load_base(files, torch.float32, threads=2), LoraConfig(), seed=0)
    noise = torch.randn(policy.flat.shape, generator=torch.Generator().manual_seed(1))
    policy.flat.add_(0.02 * noise)
    config = TrainingConfig(
        steps=1,
        prompts_per_step=1,
        samples_per_prompt=2,
        learning_rate=1e-3,
        sampling=Sampling(max_tokens=16),
        engine=VllmEngine(kv_cache_mib=256),
        max_prompt_tokens=64,
    )
    prompts = [policy.base.tokenizer.encode(text) for text in PROMPTS]
    with tempfile.TemporaryDirectory() as folder:
        engine = vllm.start(config, policy, files, FolderScratch(Path(folder)))
        rollouts = engine.generate(prompts, 4, 16, 1.0, torch.Generator().manual_seed(0))
    batch = pack_groups(
        rollouts, range(len(prompts)), torch.ones(len(prompts), 4, dtype=torch.bool)
    )
    with torch.no_grad():
        logprobs_K, _ = completion_logprobs(policy, batch, 1.0)
    gap_K = (logprobs_K - batch.sampler_logprobs_K).abs()
    found = {"tokens": len(gap_K), "mean": gap_K.mean().item(), "max": gap_K.max().item()}
    sys.stdout.write("\n" + json.dumps(found) + "\n")


if __name__ == "__main__":
    main()
