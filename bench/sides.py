"""Both sides of ``rft_step``: this project's trainer and TRL's GRPOTrainer, set to do the same."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

os.environ["HF_HUB_OFFLINE"] = "1"  # before the libraries that read it are imported

import datasets
import peft
import torch
import transformers
import trl

from strongroom.examples.feedback.prepare import rows as feedback_rows
from strongroom.examples.packages import CACHE
from strongroom.trainer.config import LoraConfig, Sampling, TrainingConfig
from strongroom.trainer.data.rows import Row, decode_row
from strongroom.trainer.loop import train
from strongroom.trainer.model.base import load_base
from strongroom.trainer.model.lora import Policy, attach_lora
from strongroom.trainer.rollouts.evaluators import Job, Score
from strongroom.trainer.steps.metrics import StepMetrics
from strongroom.trainer.steps.schedule import row_indices
from strongroom.trainer.steps.state import new_state

PROMPTS, SAMPLES, MAX_TOKENS = 4, 8, 10
LEARNING_RATE, WARMUP = 5e-4, 5
LORA = LoraConfig(rank=8, alpha=16)
UNSEEN = 1000
TRL_VERSION: str = trl.__version__


def quiet() -> None:
    """Leave the libraries' warnings out of a bench's output."""
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    transformers.utils.logging.set_verbosity_error()


def unseen_rows() -> list[Row]:
    """All other rows of the same source, as many positive as negative ones.

    On the 100 held-out rows one answer is a whole point; a difference of two says nothing.
    """
    used = {row["id"] for part in feedback_rows(CACHE) for row in part}
    found = feedback_rows(CACHE, held_out=UNSEEN + 100)
    others = [row for part in found for row in part if row["id"] not in used]
    return [decode_row(json.dumps(row).encode()) for row in others]


class Disagreeing:
    """A reward that differs within every group, whatever the completions are."""

    def __init__(self) -> None:
        self._calls = 0

    def next(self) -> float:
        """A number from 0 to 1."""
        self._calls += 1
        return hashlib.sha256(str(self._calls).encode()).digest()[0] / 255

    def score(self, jobs: Sequence[Job]) -> list[Score]:
        """See ``trainer.rollouts.evaluators.Evaluator``."""
        return [Score(score=self.next()) for _ in jobs]


@dataclass
class Times:
    """Seconds of each step, and what the steps reported."""

    seconds: list[float] = field(default_factory=list)
    rollout_seconds: list[float] = field(default_factory=list)
    """Of these, until completions are sampled and scored."""
    filtered: list[float] = field(default_factory=list)
    """Share of groups without variance."""


def settings(steps: int, seed: int) -> TrainingConfig:
    """The quickstart's settings."""
    return TrainingConfig(
        steps=steps,
        prompts_per_step=PROMPTS,
        samples_per_prompt=SAMPLES,
        learning_rate=LEARNING_RATE,
        warmup_steps=WARMUP,
        sampling=Sampling(temperature=1.0, max_tokens=MAX_TOKENS),
        seed=seed,
        checkpoint_every=steps,
    )


@dataclass(frozen=True)
class Where:
    """What both compute on."""

    device: str
    threads: int
    precision: str = "bfloat16"
    """Of the base model; each side keeps the adapter as it does by itself."""

    @property
    def dtype(self) -> torch.dtype:
        """``precision`` as torch names it."""
        found: torch.dtype = getattr(torch, self.precision)
        return found


class Ours:
    """This project's trainer."""

    def __init__(
        self, files: dict[str, bytes], rows: list[Row], where: Where, seed: int = 0
    ) -> None:
        base = load_base(files, where.dtype, where.threads, where.device)
        self.policy: Policy = attach_lora(base, LORA, seed)
        self.rows = rows

    def steps(self, count: int, seed: int, scorer: Any, turn: Callable[[], None]) -> Times:
        """Take ``count`` steps; ``turn`` is called after each, off the clock."""
        config = settings(count, seed)
        times = Times()
        started = time.perf_counter()

        def on_step(metrics: StepMetrics) -> None:
            nonlocal started
            times.seconds.append(time.perf_counter() - started)
            times.filtered.append(metrics.values["zero_variance_share"])
            turn()
            started = time.perf_counter()

        train(self.policy, self.rows, scorer, config, new_state(self.policy, config), on_step)
        return times


class Theirs:
    """TRL's GRPOTrainer, set to do the same."""

    def __init__(self, folder: Path, rows: list[Row], where: Where) -> None:
        self._folder = folder
        self._on_cpu = where.device == "cpu"
        self._dtype = where.dtype
        self._rows = rows
        self.model: Any = None

    def steps(
        self,
        count: int,
        seed: int,
        reward: Callable[..., list[float]],
        turn: Callable[[], None],
        start: Policy,
    ) -> Times:
        """Take ``count`` steps from the adapter of ``start``; ``turn`` is called after each, off
        the clock.
        """
        times = Times()
        clock = {"started": 0.0}
        on_cpu = self._on_cpu

        class Clock(transformers.TrainerCallback):  # type: ignore[misc]
            def on_step_begin(self, *_: Any, **__: Any) -> None:
                torch.use_deterministic_algorithms(mode=False)
                clock["started"] = time.perf_counter()

            def on_step_end(self, *_: Any, **__: Any) -> None:
                times.seconds.append(time.perf_counter() - clock["started"])
                torch.use_deterministic_algorithms(mode=on_cpu)

            def on_log(self, _args: Any, _state: Any, _control: Any, logs: Any, **_: Any) -> None:
                if "reward" in logs:
                    times.filtered.append(float(logs["frac_reward_zero_std"]))
                    turn()

        with tempfile.TemporaryDirectory() as scratch:
            trainer = trl.GRPOTrainer(
                model=transformers.AutoModelForCausalLM.from_pretrained(
                    self._folder, dtype=self._dtype
                ),
                reward_funcs=reward,
                train_dataset=self._dealt(count, seed),
                processing_class=transformers.AutoTokenizer.from_pretrained(self._folder),
                peft_config=peft.LoraConfig(
                    r=LORA.rank,
                    lora_alpha=LORA.alpha,
                    target_modules=list(LORA.targets),
                    task_type="CAUSAL_LM",
                ),
                args=trl.GRPOConfig(
                    output_dir=scratch,
                    per_device_train_batch_size=PROMPTS * SAMPLES,
                    generation_batch_size=PROMPTS * SAMPLES,
                    num_generations=SAMPLES,
                    max_completion_length=MAX_TOKENS,
                    max_steps=count,
                    seed=seed,
                    shuffle_dataset=False,
                    learning_rate=LEARNING_RATE,
                    lr_scheduler_type="constant_with_warmup",
                    warmup_steps=WARMUP,
                    adam_beta2=0.95,
                    weight_decay=0.0,
                    max_grad_norm=1.0,
                    loss_type="grpo",
                    scale_rewards="group",
                    beta=0.0,
                    temperature=1.0,
                    top_p=1.0,
                    top_k=0,
                    use_cpu=self._on_cpu,
                    bf16=False,
                    activation_checkpointing=False,
                    logging_steps=1,
                    save_strategy="no",
                    report_to=[],
                    disable_tqdm=True,
                ),
                callbacks=[Clock()],
            )
            trainer.remove_callback(transformers.PrinterCallback)
            sample_and_score = trainer._generate_and_score_completions

            def timed(*given: Any) -> Any:
                started = time.perf_counter()
                sampled = sample_and_score(*given)
                times.rollout_seconds.append(time.perf_counter() - started)
                return sampled

            trainer._generate_and_score_completions = timed
            self.model = trainer.model
            for span, weight in self._weights(start):
                weight.data.copy_(start.flat[span].view_as(weight))
            trainer.train()
        return times

    def _dealt(self, count: int, seed: int) -> datasets.Dataset:
        """The rows as our trainer deals them."""
        order = row_indices(0, count * PROMPTS, len(self._rows), seed)
        dealt = [self._rows[index] for index in order]
        return datasets.Dataset.from_list(
            [{"prompt": row.chat(), "ground_truth": row.ground_truth} for row in dealt]
        )

    def copy_adapter(self, policy: Policy) -> None:
        """Put the trained adapter into ``policy``, to score both with the same decoder."""
        with torch.no_grad():
            for span, weight in self._weights(policy):
                policy.flat[span] = weight.float().flatten().to(policy.device)

    def _weights(self, policy: Policy) -> Iterator[tuple[slice, torch.nn.Parameter]]:
        """Each adapter weight of the model, and where it lies in ``policy.flat``."""
        found = dict(self.model.named_parameters())
        for name, span in policy.spans().items():
            yield span, found[name.replace(".weight", ".default.weight")]


def progress(name: str, done: int, total: int) -> None:
    """Where the bench is."""
    print(f"\r{name} {done} of {total}   ", end="" if done < total else "\n", file=sys.stderr)
