"""Tokens per second of the rollout engines ``hf`` and ``vllm``, side by side in one process.

Both sample from the same policy, the quickstart's model with an adapter, in bfloat16: 32
completions at once of real prompts, as 4 groups of 8 (what a training step draws) and as 32
different prompts (what an evaluation draws). They take turns; the figure is the median. There is no
bound: it says which engine to choose on a machine. ``make bench-vllm`` runs it in the environment
that has vLLM.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
from pathlib import Path

import figures
import torch

from strongroom.examples.base_model import base_model, model_files
from strongroom.examples.feedback.prepare import rows as feedback_rows
from strongroom.examples.packages import CACHE
from strongroom.trainer.config import HfEngine, LoraConfig, Sampling, TrainingConfig, VllmEngine
from strongroom.trainer.data.rows import decode_row
from strongroom.trainer.engines import build_engine, vllm
from strongroom.trainer.engines.scratch import FolderScratch
from strongroom.trainer.model.base import load_base
from strongroom.trainer.model.lora import Policy, attach_lora
from strongroom.trainer.rollouts.prompts import encode_prompt
from strongroom.trainer.rollouts.rollout import Engine

BATCH = 32
SHAPES = {"4 prompts x 8": (4, 8), "32 prompts x 1": (32, 1)}


def tokens_per_second(
    engine: Engine, prompts: list[list[int]], samples: int, max_tokens: int, seed: int
) -> float:
    """Of one call, prompts included in the time and not in the tokens."""
    generator = torch.Generator().manual_seed(seed)
    started = time.perf_counter()
    rollouts = engine.generate(prompts, samples, max_tokens, 1.0, generator)
    return int(rollouts.lengths_B.sum()) / (time.perf_counter() - started)


def awake(policy: Policy) -> None:
    """Give the adapter weights, as after some training."""
    noise = torch.randn(policy.flat.shape, generator=torch.Generator().manual_seed(1))
    policy.flat.add_(noise * 0.02)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--max-tokens", type=int, default=24)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--json", action="store_true", help="print one JSON object last")
    args = parser.parse_args()

    files = model_files(base_model(CACHE))
    policy = attach_lora(load_base(files, torch.bfloat16, args.threads), LoraConfig(), seed=0)
    awake(policy)
    rows = [decode_row(json.dumps(row).encode()) for row in feedback_rows(CACHE)[0][:BATCH]]
    prompts = [list(encode_prompt(policy, row)) for row in rows]
    config = TrainingConfig(
        steps=1,
        prompts_per_step=4,
        samples_per_prompt=8,
        learning_rate=1e-3,
        sampling=Sampling(max_tokens=args.max_tokens),
        engine=VllmEngine(),
        max_prompt_tokens=max(map(len, prompts)),
    )
    print(f"$ {figures.command()}")
    with tempfile.TemporaryDirectory() as folder:
        started = time.perf_counter()
        vllm.start(config, policy, files, FolderScratch(Path(folder)))
        start_s = time.perf_counter() - started
    print(f"vllm takes {start_s:.1f} s to start; hf takes none")
    engines = {
        "hf": build_engine(HfEngine(), policy),
        "vllm": build_engine(config.engine, policy),
    }
    found: dict[str, dict[str, float]] = {}
    for shape, (groups, samples) in SHAPES.items():
        taken: dict[str, list[float]] = {name: [] for name in engines}
        for index in range(args.rounds + 1):
            for name, engine in engines.items():
                speed = tokens_per_second(
                    engine, prompts[:groups], samples, args.max_tokens, seed=index
                )
                if index:  # the first round warms up
                    taken[name].append(speed)
        found[shape] = {name: round(statistics.median(v), 1) for name, v in taken.items()}
        print(f"{shape:16}" + "".join(f"  {n} {v:7.1f} tok/s" for n, v in found[shape].items()))
    if args.json:
        figure = {"threads": args.threads, "start_s": round(start_s, 1), "tokens_per_s": found}
        print(figures.document("rollout_engines", figure))
    return 0


if __name__ == "__main__":
    sys.exit(main())
