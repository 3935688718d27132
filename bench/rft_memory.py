"""Peak memory of a step's loss and gradient at 4,096 completion tokens, against TRL's GRPOTrainer.

One group of eight completions of 512 tokens each after the same prompt of 512: same model, LoRA,
precision and threads. Each side works in a process of its own; its figure is the highest resident
memory while it computes loss and gradient, less what was resident before (model, adapter, library).
TRL is measured as in ``rft_step`` and again with activation checkpointing, its default, which
trades time for memory and which ours does not have. Ours is measured at a quarter and at half of
the tokens, too.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import subprocess
import sys
import tempfile
import threading
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ["HF_HUB_OFFLINE"] = "1"

import figures
import torch

BOUND = 0.5
SAMPLES, PROMPT_TOKENS = 8, 512
TOKENS = 4096
SIDES = ("ours", "trl", "trl_checkpointing")
Work = Callable[[], None]


def resident_bytes() -> int:
    """What this process holds in memory now."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) << 10
    raise RuntimeError("no VmRSS in /proc/self/status")


class Peak:
    """The highest resident memory while the block runs, sampled every 5 ms."""

    def __enter__(self) -> Peak:
        self.before = self.highest = resident_bytes()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._over.wait(0.005):
            self.highest = max(self.highest, resident_bytes())


def tokens(length: int) -> torch.Tensor:
    """Completion tokens (SAMPLES, length), the same on every side."""
    generator = torch.Generator().manual_seed(1)
    return torch.randint(100, 40_000, (SAMPLES, length), generator=generator)


def prompt() -> list[int]:
    """The prompt's token ids."""
    return list(range(1000, 1000 + PROMPT_TOKENS))


def ours(length: int, threads: int, dtype: torch.dtype) -> Work:
    """Loss, gradient and update by this project's learner."""
    from strongroom.examples.base_model import CACHE, base_model, model_files
    from strongroom.trainer.config import LoraConfig, Sampling, TrainingConfig
    from strongroom.trainer.losses import build_objective
    from strongroom.trainer.methods import GrpoMethod
    from strongroom.trainer.model.base import load_base
    from strongroom.trainer.model.lora import attach_lora
    from strongroom.trainer.rollouts.rollout import Rollouts
    from strongroom.trainer.steps.learning import Learner
    from strongroom.trainer.steps.sampling import Sampled
    from strongroom.trainer.steps.state import new_state

    base = load_base(model_files(base_model(CACHE)), dtype, threads)
    policy = attach_lora(base, LoraConfig(), seed=0)
    config = TrainingConfig(
        steps=1,
        prompts_per_step=1,
        samples_per_prompt=SAMPLES,
        learning_rate=1e-4,
        sampling=Sampling(max_tokens=length),
    )
    rollouts = Rollouts(
        prompts=(tuple(prompt()),),
        tokens_BT=tokens(length),
        logprobs_BT=torch.zeros(SAMPLES, length),
        lengths_B=torch.full((SAMPLES,), length),
        finished_B=torch.zeros(SAMPLES, dtype=torch.bool),
        texts=("",) * SAMPLES,
    )
    advantages = torch.linspace(-1, 1, SAMPLES)[None]
    sampled = Sampled(
        indices=[0],
        rows=[],
        rollouts=rollouts,
        scores=[],
        rewards_PG=advantages.double(),
        advantages_PG=advantages,
        seconds_rollout=0.0,
        seconds_score=0.0,
    )
    learner = Learner(policy, build_objective(GrpoMethod(), length), config)
    state = new_state(policy, config)
    return lambda: print(learner.learn(sampled, state)["loss"], file=sys.stderr)


def theirs(length: int, dtype: torch.dtype, *, checkpointing: bool) -> Work:
    """Loss and gradient by TRL's trainer, on its own batch."""
    import datasets
    import peft
    import transformers
    import trl

    from strongroom.examples.base_model import CACHE, base_model

    folder = base_model(CACHE)
    trainer = trl.GRPOTrainer(
        model=transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=dtype),
        reward_funcs=lambda completions, **_: [0.0] * len(completions),
        train_dataset=datasets.Dataset.from_list([{"prompt": "a"}] * SAMPLES),
        processing_class=transformers.AutoTokenizer.from_pretrained(folder),
        peft_config=peft.LoraConfig(
            r=8,
            lora_alpha=16,
            target_modules=["q_proj", "k_proj", "v_proj", "o_proj"],
            task_type="CAUSAL_LM",
        ),
        args=trl.GRPOConfig(
            output_dir=tempfile.gettempdir(),
            per_device_train_batch_size=SAMPLES,
            num_generations=SAMPLES,
            max_completion_length=length,
            beta=0.0,
            loss_type="grpo",
            use_cpu=True,
            bf16=False,
            activation_checkpointing=checkpointing,
            report_to=[],
        ),
    )
    trainer.model.train()
    if checkpointing:
        trainer.model.gradient_checkpointing_enable()
        trainer.model.enable_input_require_grads()
    trainer.current_gradient_accumulation_steps = 1
    completions = tokens(length)
    prompts = torch.tensor([prompt()] * SAMPLES)
    inputs = {
        "prompt_ids": prompts,
        "prompt_mask": torch.ones_like(prompts),
        "completion_ids": completions,
        "completion_mask": torch.ones_like(completions),
        "advantages": torch.linspace(-1, 1, SAMPLES),
        "num_items_in_batch": torch.tensor(completions.numel()),
    }

    def work() -> None:
        loss = trainer._compute_loss(trainer.model, inputs)
        print(loss.item(), file=sys.stderr)
        loss.backward()

    return work


def measure(side: str, length: int, threads: int, precision: str) -> dict[str, Any]:
    """One side, in this process."""
    torch.set_num_threads(threads)
    dtype: torch.dtype = getattr(torch, precision)
    if side == "ours":
        work = ours(length, threads, dtype)
    else:
        work = theirs(length, dtype, checkpointing=side == "trl_checkpointing")
    started = time.perf_counter()
    with Peak() as peak:
        work()
    return {
        "before_mib": peak.before >> 20,
        "peak_mib": (peak.highest - peak.before) >> 20,
        "seconds": round(time.perf_counter() - started, 1),
    }


def measured(side: str, length: int, threads: int, precision: str) -> dict[str, Any]:
    """One side, in a process of its own."""
    command = [sys.executable, __file__, "--side", side, "--length", str(length)]
    command += ["--threads", str(threads), "--precision", precision]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    print(
        f"{side:<18} {SAMPLES * length:>5} tokens: {found['peak_mib']:>6} MiB "
        f"on top of {found['before_mib']} MiB, {found['seconds']} s"
    )
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, default=min(2, os.cpu_count() or 1))
    parser.add_argument(
        "--precision",
        choices=["bfloat16", "float32"],
        default=figures.run_precision(),
        help="of the base model on all sides; by default what a run would take here",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object last")
    parser.add_argument("--side", choices=SIDES, help=argparse.SUPPRESS)
    parser.add_argument("--length", type=int, default=TOKENS // SAMPLES, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.side:
        warnings.simplefilter("ignore")
        logging.disable(logging.WARNING)
        print(json.dumps(measure(args.side, args.length, args.threads, args.precision)))
        return 0
    print(f"$ {figures.command()}")
    options = args.threads, args.precision
    found = {side: measured(side, TOKENS // SAMPLES, *options) for side in SIDES}
    shorter = {
        str(TOKENS // part): measured("ours", TOKENS // SAMPLES // part, *options)
        for part in (4, 2)
    }
    ratio = found["ours"]["peak_mib"] / found["trl"]["peak_mib"]
    to_default = found["ours"]["peak_mib"] / found["trl_checkpointing"]["peak_mib"]
    passed = ratio <= BOUND
    print(f"ratio {ratio:.2f}   (bound {BOUND}); with checkpointing in TRL {to_default:.2f}")
    if args.json:
        document = {
            "tokens": TOKENS,
            **found,
            "ours_by_tokens": shorter,
            "threads": args.threads,
            "precision": args.precision,
            "memory_ratio": round(ratio, 3),
            "memory_ratio_to_checkpointing": round(to_default, 3),
            "passed": passed,
        }
        print(figures.document("rft_memory", document))
    return 0 if passed else 1


if __name__ == "__main__":
    sys.exit(main())
