"""A training step, and a whole run, against TRL's GRPOTrainer: same model, data, LoRA, batch,
precision and threads, in one process, taking turns.

Steps: both take steps in turn under a reward that no group agrees on, so that every group is
trained on both sides; ``step_ratio`` is the median over pairs. Run: each trains to the end under
the real evaluator from the same adapter, on the same rows in the same order, one after the other;
``run_ratio`` is the ratio of the times their steps took, and both are scored by the same greedy
decoder on 1,000 rows that neither has seen (the curves: on the example's 100 held-out rows).
Neither side checkpoints, reports or evaluates within the time that is measured. ``load_base`` lets
torch take the repeatable form of every operation; in TRL's steps it may take any, as TRL would.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib.util
import json
import logging
import os
import statistics
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

os.environ["HF_HUB_OFFLINE"] = "1"

import datasets
import figures
import peft
import torch
import transformers
import trl

from examples.feedback.prepare import rows as feedback_rows
from pipeline.inputs import base_model, model_files
from pipeline.packages import CACHE
from trainer.config import LoraConfig, Sampling, TrainingConfig
from trainer.evaluation import evaluate as score_held_out
from trainer.evaluators import FunctionEvaluator, Job, Score
from trainer.loop import train
from trainer.lora import Policy, attach_lora
from trainer.metrics import StepMetrics
from trainer.model import load_base
from trainer.rows import Row, decode_row
from trainer.schedule import row_indices
from trainer.state import new_state

STEP_BOUND, RUN_BOUND = 8.0, 12.0
PROMPTS, SAMPLES, MAX_TOKENS = 4, 8, 10
LEARNING_RATE, WARMUP = 5e-4, 5
LORA = LoraConfig(rank=8, alpha=16)
UNSEEN = 1000
RESULTS = Path(__file__).parent / "results"
Function = Callable[..., dict[str, float]]


def evaluator() -> Function:
    """The example's ``evaluate``."""
    path = Path(__file__).parent.parent / "examples" / "feedback" / "evaluator.py"
    spec = importlib.util.spec_from_file_location("feedback_evaluator", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    function: Function = module.evaluate
    return function


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

    def score(self, jobs: list[Job]) -> list[Score]:
        """See ``trainer.evaluators.Evaluator``."""
        return [Score(score=self.next()) for _ in jobs]


@dataclass
class Times:
    """Seconds of each step, and what the steps reported."""

    seconds: list[float] = field(default_factory=list)
    rollout_seconds: list[float] = field(default_factory=list)
    """Of these, until completions are sampled and scored."""
    rewards: list[float] = field(default_factory=list)
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
            times.rewards.append(metrics.values["reward_mean"])
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
                    times.rewards.append(float(logs["reward"]))
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


def step_ratio(ours: Ours, theirs: Theirs, pairs: int, warm: int) -> dict[str, Any]:
    """Steps in turn: theirs, ours, theirs, …"""
    mine = Disagreeing()
    other = Disagreeing()
    config = settings(pairs + warm, seed=1)
    state = new_state(ours.policy, config)
    times = Times()

    def on_step(metrics: StepMetrics) -> None:
        phases = (metrics.values[f"seconds_{phase}"] for phase in ("rollout", "score"))
        times.rollout_seconds.append(sum(phases))

    def one_of_ours() -> None:
        to_here = config.model_copy(update={"steps": state.step + 1})
        started = time.perf_counter()
        train(ours.policy, ours.rows, mine, to_here, state, on_step)
        times.seconds.append(time.perf_counter() - started)
        progress("pair", state.step, pairs + warm)

    def reward(completions: list[Any], **_: Any) -> list[float]:
        return [other.next() for _ in completions]

    their_times = theirs.steps(pairs + warm, 1, reward, one_of_ours, ours.policy)
    assert len(times.seconds) == len(their_times.seconds) == pairs + warm
    assert not any(their_times.filtered)
    both = list(zip(their_times.seconds, times.seconds, strict=True))[warm:]
    ratios = [their / our for their, our in both]

    def median(seconds: list[float]) -> float:
        assert len(seconds) == pairs + warm
        return round(statistics.median(seconds[warm:]), 3)

    return {
        "pairs": len(ratios),
        "trl_step_s": median(their_times.seconds),
        "our_step_s": median(times.seconds),
        "trl_rollout_s": median(their_times.rollout_seconds),
        "our_rollout_s": median(times.rollout_seconds),
        "step_ratio": round(statistics.median(ratios), 2),
        "step_ratio_range": [round(min(ratios), 2), round(max(ratios), 2)],
    }


def run_ratio(
    files: dict[str, bytes],
    folder: Path,
    rows: tuple[list[Row], list[Row]],
    options: argparse.Namespace,
) -> dict[str, Any]:
    """Both to the end, and how well each then does."""
    function = evaluator()
    train_rows, held_out = rows
    every = max(1, options.steps // 4)
    unseen = unseen_rows()
    curves: dict[str, list[tuple[int, float]]] = {"ours": [], "trl": []}

    where = Where(options.device, options.threads, options.precision)
    ours = Ours(files, train_rows, where, options.seed)
    config = settings(options.steps, options.seed)

    def accuracy(policy: Policy, rows: list[Row]) -> float:
        found = score_held_out(policy, rows, FunctionEvaluator(function), config)
        return found.metrics["accuracy"]

    before = accuracy(ours.policy, held_out)
    for points in curves.values():
        points.append((0, before))

    def watched(name: str, policy: Callable[[], Policy]) -> Callable[[], None]:
        taken = 0

        def turn() -> None:
            nonlocal taken
            taken += 1
            progress(name, taken, options.steps)
            if taken % every == 0:
                curves[name].append((taken, accuracy(policy(), held_out)))

        return turn

    scorer = FunctionEvaluator(function)
    our_times = ours.steps(
        options.steps, options.seed, scorer, watched("ours", lambda: ours.policy)
    )

    judge = Ours(files, train_rows, where, options.seed)
    theirs = Theirs(folder, train_rows, where)

    def reward(completions: list[Any], ground_truth: list[Any], **_: Any) -> list[float]:
        return [
            function(completion, truth)["score"]
            for completion, truth in zip(completions, ground_truth, strict=True)
        ]

    def judged() -> Policy:
        theirs.copy_adapter(judge.policy)
        return judge.policy

    their_times = theirs.steps(
        options.steps, options.seed, reward, watched("trl", judged), judge.policy
    )
    usual = options.device == "cpu" and options.precision == "bfloat16"
    suffix = "" if usual else f"_{options.device}_{options.precision}"
    picture = RESULTS / f"rft_step{suffix}.svg"
    picture.write_text(drawing(curves, our_times, their_times), encoding="utf-8")
    return {
        "steps": options.steps,
        "seed": options.seed,
        "trl_run_s": round(sum(their_times.seconds), 1),
        "our_run_s": round(sum(our_times.seconds), 1),
        "run_ratio": round(sum(their_times.seconds) / sum(our_times.seconds), 2),
        "accuracy_before": before,
        "unseen_rows": len(unseen),
        "trl_accuracy": round(accuracy(judged(), unseen), 4),
        "our_accuracy": round(accuracy(ours.policy, unseen), 4),
        "trl_zero_variance_share": round(statistics.mean(their_times.filtered), 3),
        "our_zero_variance_share": round(statistics.mean(our_times.filtered), 3),
        "held_out": curves,
        "picture": picture.name,
    }


def drawing(curves: dict[str, list[tuple[int, float]]], ours: Times, theirs: Times) -> str:
    """Reward per step (thin, averaged over five) and held-out accuracy (thick) of both, as SVG."""
    width, height, left, top = 720, 360, 50, 20
    steps = len(ours.seconds)

    def at(step: float, value: float) -> str:
        x = left + (width - left - 20) * step / steps
        return f"{x:.1f},{top + (height - top - 40) * (1 - value):.1f}"

    colours = {"ours": "#0b6e4f", "trl": "#b3541e"}
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" '
        'font-family="sans-serif" font-size="12">',
        f'<rect width="{width}" height="{height}" fill="white"/>',
    ]
    for tick in (0, 0.25, 0.5, 0.75, 1):
        y = at(0, tick).split(",")[1]
        parts.append(f'<path d="M{left} {y}H{width - 20}" stroke="#ddd"/>')
        parts.append(f'<text x="{left - 8}" y="{y}" text-anchor="end">{tick:g}</text>')
    for step in range(0, steps + 1, max(1, steps // 6)):
        x = at(step, 0).split(",")[0]
        parts.append(f'<text x="{x}" y="{height - 20}" text-anchor="middle">{step}</text>')
    for name, times in (("ours", ours), ("trl", theirs)):
        smooth = [
            statistics.mean(times.rewards[max(0, i - 4) : i + 1]) for i in range(len(times.rewards))
        ]
        line = " ".join(at(i + 1, value) for i, value in enumerate(smooth))
        held = " ".join(at(step, value) for step, value in curves[name])
        style = f'fill="none" stroke="{colours[name]}"'
        parts.append(f'<polyline points="{line}" {style} stroke-opacity="0.5"/>')
        parts.append(f'<polyline points="{held}" {style} stroke-width="3"/>')
        row = top + 300 - 16 * (name == "ours")
        said = f"{name}: {sum(times.seconds):.0f} s; held-out accuracy thick, reward thin"
        parts.append(
            f'<text x="{width - 30}" y="{row - 20}" text-anchor="end" '
            f'fill="{colours[name]}">{said}</text>'
        )
    return "\n".join([*parts, "</svg>", ""])


def progress(name: str, done: int, total: int) -> None:
    """Where the bench is."""
    print(f"\r{name} {done} of {total}   ", end="" if done < total else "\n", file=sys.stderr)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pairs", type=int, default=9, help="pairs of steps (default 9)")
    parser.add_argument("--steps", type=int, default=60, help="steps of a run (default 60)")
    parser.add_argument("--seed", type=int, default=0, help="of the run (default 0)")
    parser.add_argument("--threads", type=int, default=min(2, os.cpu_count() or 1))
    parser.add_argument("--device", default="cpu", help="cpu (default) or cuda")
    parser.add_argument(
        "--precision",
        choices=["bfloat16", "float32"],
        default="bfloat16",
        help="of the base model on both sides (default bfloat16)",
    )
    parser.add_argument("--only", choices=["steps", "run"], help="one of the two parts")
    parser.add_argument("--json", action="store_true", help="print one JSON object last")
    args = parser.parse_args()

    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    transformers.utils.logging.set_verbosity_error()
    torch.set_num_threads(args.threads)
    folder = base_model(CACHE)
    files = model_files(folder)
    train_rows, held_out = (
        [decode_row(json.dumps(row).encode()) for row in rows] for rows in feedback_rows(CACHE)
    )
    found: dict[str, Any] = {
        "device": figures.device_name(args.device),
        "threads": args.threads,
        "precision": args.precision,
        "trl": trl.__version__,
    }
    print(f"$ {figures.command()}")
    passed = True
    if args.only != "run":
        where = Where(args.device, args.threads, args.precision)
        ours, theirs = Ours(files, train_rows, where), Theirs(folder, train_rows, where)
        found |= step_ratio(ours, theirs, args.pairs, warm=2)
        passed &= found["step_ratio"] >= STEP_BOUND
        for side, name in (("trl", "TRL "), ("our", "ours")):
            step_s, rollout_s = found[f"{side}_step_s"], found[f"{side}_rollout_s"]
            print(f"{name}  {step_s:7.2f} s per step, of which {rollout_s:.2f} s rollout")
        print(f"ratio {found['step_ratio']:7.2f}   (bound {STEP_BOUND}, {found['pairs']} pairs)")
    if args.only != "steps":
        found |= run_ratio(files, folder, (train_rows, held_out), args)
        passed &= found["run_ratio"] >= RUN_BOUND
        passed &= found["our_accuracy"] >= found["trl_accuracy"]
        print(f"TRL   {found['trl_run_s']:7.1f} s, held-out accuracy {found['trl_accuracy']:.3f}")
        print(f"ours  {found['our_run_s']:7.1f} s, held-out accuracy {found['our_accuracy']:.3f}")
        print(f"ratio {found['run_ratio']:7.2f}   (bound {RUN_BOUND}, {args.steps} steps)")
    if args.json:
        print(figures.document("rft_step", {**found, "passed": passed}))
    return 0 if passed else 1


if __name__ == "__main__":
    sys.exit(main())
