"""A training step, and whole runs, against TRL's GRPOTrainer: same model, data, LoRA, batch,
precision and threads, in one process, taking turns.

Steps: both take steps in turn under a reward that no group agrees on, so that every group is
trained on both sides; ``step_ratio`` is the median over pairs. Runs: for each seed both train to
the end under the real evaluator from the same adapter, on the same rows in the same order, one
after the other; ``run_ratio`` is the ratio of the times their steps took, and both are scored by
the same greedy decoder on 1,000 rows that neither has seen (the curves: on the example's 100
held-out rows). One run's accuracy is chance to a few points, so the mean over the seeds counts.
Neither side checkpoints, reports or evaluates within the time that is measured. ``load_base`` lets
torch take the repeatable form of every operation; in TRL's steps it may take any, as TRL would.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import time
from pathlib import Path
from typing import Any

import figures
import torch
from rft_runs import Inputs, drawing, runs_of, summary
from sides import (
    TRL_VERSION,
    Disagreeing,
    Ours,
    Theirs,
    Times,
    Where,
    progress,
    quiet,
    settings,
)

from strongroom.examples.base_model import base_model, model_files
from strongroom.examples.feedback.prepare import rows as feedback_rows
from strongroom.examples.packages import CACHE
from strongroom.trainer.data.rows import decode_row
from strongroom.trainer.loop import train
from strongroom.trainer.steps.metrics import StepMetrics
from strongroom.trainer.steps.state import new_state

STEP_BOUND, RUN_BOUND = 8.0, 12.0
RESULTS = Path(__file__).parent / "results"


def step_ratio(inputs: Inputs, pairs: int, warm: int) -> dict[str, Any]:
    """Steps in turn: theirs, ours, theirs, …"""
    ours = Ours(inputs.files, inputs.train_rows, inputs.where)
    theirs = Theirs(inputs.folder, inputs.train_rows, inputs.where)
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


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pairs", type=int, default=9, help="pairs of steps (default 9)")
    parser.add_argument("--steps", type=int, default=60, help="steps of a run (default 60)")
    parser.add_argument(
        "--seeds", type=int, nargs="+", default=[0, 1, 2], help="one run each (default 0 1 2)"
    )
    parser.add_argument(
        "--keep", type=Path, metavar="FILE", help="adds runs to FILE; what it has is not run again"
    )
    parser.add_argument("--threads", type=int, default=min(2, os.cpu_count() or 1))
    parser.add_argument("--device", default="cpu", help="cpu (default) or cuda")
    parser.add_argument(
        "--precision",
        choices=["bfloat16", "float32"],
        help="of the base model on both sides; by default what a run would take here",
    )
    parser.add_argument("--only", choices=["steps", "runs"], help="one of the two parts")
    parser.add_argument("--json", action="store_true", help="print one JSON object last")
    args = parser.parse_args()

    quiet()
    torch.set_num_threads(args.threads)
    folder = base_model(CACHE)
    train_rows, held_out = (
        [decode_row(json.dumps(row).encode()) for row in rows] for rows in feedback_rows(CACHE)
    )
    precision = args.precision or figures.run_precision(args.device)
    where = Where(args.device, args.threads, precision)
    inputs = Inputs(folder, model_files(folder), train_rows, held_out, where)
    found: dict[str, Any] = {
        "device": figures.device_name(args.device),
        "threads": args.threads,
        "precision": precision,
        "trl": TRL_VERSION,
    }
    print(f"$ {figures.command()}")
    passed = True
    if args.only != "runs":
        found |= step_ratio(inputs, args.pairs, warm=2)
        passed &= found["step_ratio"] >= STEP_BOUND
        for side, name in (("trl", "TRL "), ("our", "ours")):
            step_s, rollout_s = found[f"{side}_step_s"], found[f"{side}_rollout_s"]
            print(f"{name}  {step_s:7.2f} s per step, of which {rollout_s:.2f} s rollout")
        print(f"ratio {found['step_ratio']:7.2f}   (bound {STEP_BOUND}, {found['pairs']} pairs)")
    if args.only != "steps":
        runs = runs_of(inputs, args.steps, args.seeds, args.keep)
        found |= summary(runs)
        passed &= found["run_ratio"] >= RUN_BOUND
        passed &= found["our_accuracy"] >= found["trl_accuracy"]
        picture = RESULTS / f"rft_step_{args.device}_{precision}.svg"
        picture.write_text(drawing(runs), encoding="utf-8")
        for run in runs:
            for side, name in (("trl", "TRL "), ("our", "ours")):
                run_s, accuracy = run[f"{side}_run_s"], run[f"{side}_accuracy"]
                print(f"{name}  seed {run['seed']}: {run_s:7.1f} s, accuracy {accuracy:.3f}")
        print(f"ratio {found['run_ratio']:7.2f}   (bound {RUN_BOUND}, {args.steps} steps)")
        ours, theirs = found["our_accuracy"], found["trl_accuracy"]
        print(f"accuracy {ours:.3f} against {theirs:.3f}   (bound: not below; {picture.name})")
    if args.json:
        print(figures.document("rft_step", {**found, "passed": passed}))
    return 0 if passed else 1


if __name__ == "__main__":
    sys.exit(main())
