"""How near to the memory's speed the ``hf`` engine decodes.

Each token step reads every weight of the decoder and the head once, and the keys and values of all
positions so far; at the batches of a training step that reading is what takes the time, so the
share of the memory's bandwidth says how much there is left to gain. The bandwidth is that of a copy
within the same memory, measured in the same run; bytes are those of the weights and of the cache,
each read once. The adapter is awake, sampling at temperature 1, real prompts, no end tokens.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import replace

import figures
import torch

from strongroom.examples.base_model import base_model, model_files
from strongroom.examples.feedback.prepare import rows as feedback_rows
from strongroom.examples.packages import CACHE
from strongroom.trainer.config import LoraConfig
from strongroom.trainer.data.rows import decode_row
from strongroom.trainer.engines.hf import HfSampler
from strongroom.trainer.model.base import load_base
from strongroom.trainer.model.lora import Policy, attach_lora
from strongroom.trainer.rollouts.prompts import encode_prompt

PROMPTS = 4
COPIED = 1 << 30


def seconds(work: Callable[[], object], device: str) -> float:
    """Of one call, until the device has done it."""
    started = time.perf_counter()
    work()
    if device != "cpu":
        torch.cuda.synchronize()
    return time.perf_counter() - started


def copy_bandwidth(device: str) -> float:
    """Bytes per second of a copy within the memory, read and written, the best of five."""
    source = torch.ones(COPIED // 4, device=device)
    target = torch.empty_like(source)
    taken = min(seconds(lambda: target.copy_(source), device) for _ in range(5))
    return 2 * COPIED / taken


def weight_bytes(policy: Policy) -> int:
    """What a token step reads of the model: decoder without embeddings, head, adapter."""
    embedding = policy.decoder.get_input_embeddings().weight
    read = [w for w in policy.decoder.parameters() if w is not embedding]
    return sum(w.numel() * w.element_size() for w in (*read, policy.head_weight))


def cache_bytes(policy: Policy, rows: int, positions: float) -> float:
    """Keys and values of ``rows`` sequences of so many positions."""
    config = policy.base.model.config
    head = getattr(config, "head_dim", config.hidden_size // config.num_attention_heads)
    width = 2 * config.num_key_value_heads * head * policy.decoder.dtype.itemsize
    return rows * positions * width * config.num_hidden_layers


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--samples", type=int, nargs="+", default=[8], help="per prompt")
    parser.add_argument("--max-tokens", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=min(2, os.cpu_count() or 1))
    parser.add_argument("--device", default="cpu", help="cpu (default) or cuda")
    parser.add_argument("--json", action="store_true", help="print one JSON object last")
    args = parser.parse_args()
    print(f"$ {figures.command()}")

    base = load_base(model_files(base_model(CACHE)), torch.bfloat16, args.threads, args.device)
    # Only a token that is as good as never drawn ends a completion, so calls take the same steps.
    rare = base.model.config.vocab_size - 1
    policy = attach_lora(replace(base, end_tokens=(rare,)), LoraConfig(), seed=0)
    noise = torch.randn(policy.flat.shape, generator=torch.Generator().manual_seed(1))
    policy.flat.add_(noise.to(policy.device) * 0.02)
    rows = [decode_row(json.dumps(row).encode()) for row in feedback_rows(CACHE)[0][:PROMPTS]]
    prompts = [encode_prompt(policy, row) for row in rows]
    engine = HfSampler(policy)
    bandwidth = copy_bandwidth(args.device)
    print(f"memory          {bandwidth / 1e9:8.1f} GB/s (copy, read and written)")

    found = []
    for samples in args.samples:

        def generate(tokens: int, samples: int = samples) -> float:
            generator = torch.Generator().manual_seed(0)
            return seconds(
                lambda: engine.generate(prompts, samples, tokens, 1.0, generator), args.device
            )

        generate(args.max_tokens)
        # The difference of two lengths: what the prompts cost is in both.
        steps = args.max_tokens - 1
        taken = [(generate(args.max_tokens) - generate(1)) / steps for _ in range(args.rounds)]
        step = statistics.median(taken)
        batch = PROMPTS * samples
        # A prompt's keys and values are needed once for all of its completions.
        positions = max(map(len, prompts)) + samples * args.max_tokens / 2
        read = weight_bytes(policy) + cache_bytes(policy, PROMPTS, positions)
        found.append(
            {
                "batch": batch,
                "tokens_per_second": round(batch / step, 1),
                "step_ms": round(1000 * step, 2),
                "gigabytes_per_second": round(read / step / 1e9, 2),
                "bandwidth_share": round(read / step / bandwidth, 3),
            }
        )
        print(
            f"batch {batch:>4}: {batch / step:8.0f} tokens/s, {1000 * step:7.2f} ms per step, "
            f"{read / step / 1e9:7.2f} GB/s, {read / step / bandwidth:.1%} of the memory's"
        )
    if args.json:
        document = {
            "device": figures.device_name(args.device),
            "threads": args.threads,
            "memory_gigabytes_per_second": round(bandwidth / 1e9, 1),
            "decode": found,
        }
        print(figures.document("decode", document))
    return 0


if __name__ == "__main__":
    sys.exit(main())
