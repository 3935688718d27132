"""Where the time of our training step goes: phases, and operators by their own time.

The step of ``rft_step``: every group trained, no checkpoint. Phases are the step's own numbers;
operators are those of ``torch.profiler`` over further steps, which it slows down.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
from typing import Any

import figures
import torch
from sides import Disagreeing, Ours, Where, progress, settings
from torch.profiler import ProfilerActivity, profile

from strongroom.examples.base_model import base_model, model_files
from strongroom.examples.feedback.prepare import rows as feedback_rows
from strongroom.examples.packages import CACHE
from strongroom.trainer.data.rows import decode_row
from strongroom.trainer.loop import train
from strongroom.trainer.steps.metrics import StepMetrics
from strongroom.trainer.steps.state import new_state

PHASES = ("rollout", "score", "learn")
PRODUCTS = ("aten::addmm", "aten::mm", "aten::bmm", "mkldnn_linear", "linear")
"""Names in which an operator's own time is that of a matrix product."""
WARM, PROFILED = 3, 3


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=9, help="steps that are timed (default 9)")
    parser.add_argument("--threads", type=int, default=min(2, os.cpu_count() or 1))
    parser.add_argument("--device", default="cpu", help="cpu (default) or cuda")
    parser.add_argument("--json", action="store_true", help="print one JSON object last")
    args = parser.parse_args()
    print(f"$ {figures.command()}")
    rows = [decode_row(json.dumps(row).encode()) for row in feedback_rows(CACHE)[0]]
    where = Where(args.device, args.threads)
    ours = Ours(model_files(base_model(CACHE)), rows, where)
    total = WARM + args.steps + PROFILED
    config = settings(total + 1, seed=1)
    state, scorer = new_state(ours.policy, config), Disagreeing()
    taken: list[StepMetrics] = []

    def steps(count: int) -> None:
        until = state.step + count
        train(ours.policy, rows, scorer, config, state, taken.append, until=until)
        progress("step", state.step, total)

    steps(WARM)
    taken.clear()
    steps(args.steps)
    phases = {
        phase: statistics.median(step.values[f"seconds_{phase}"] for step in taken)
        for phase in PHASES
    }
    with profile(activities=[ProfilerActivity.CPU]) as profiled:
        steps(PROFILED)
    own = {each.key: each.self_cpu_time_total for each in profiled.key_averages()}
    whole = sum(own.values())
    top = sorted(own, key=lambda name: -own[name])[:10]
    products = sum(own[name] for name in own if name.endswith(PRODUCTS)) / whole
    for phase, seconds in phases.items():
        print(f"{phase:<10} {seconds:6.3f} s")
    for name in top:
        print(f"{own[name] / whole:6.1%}  {name}")
    print(f"{products:6.1%}  of all are matrix products")
    if args.json:
        found: dict[str, Any] = {
            "device": figures.device_name(args.device),
            "threads": args.threads,
            "torch": torch.__version__,
            "phases_s": {phase: round(seconds, 3) for phase, seconds in phases.items()},
            "operators": {name: round(own[name] / whole, 3) for name in top},
            "matrix_products": round(products, 3),
        }
        print(figures.document("rft_profile", found))
    return 0


if __name__ == "__main__":
    sys.exit(main())
