"""Whole runs of both sides of ``rft_step``: how long they take, and how well each then does."""

from __future__ import annotations

import json
import statistics
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from figures import taken_on
from sides import TRL_VERSION, Ours, Theirs, Where, progress, settings, unseen_rows

from strongroom.crypto.digests import Sha256, digest_of
from strongroom.enclave.measurement import components
from strongroom.examples.feedback.evaluator import evaluate
from strongroom.trainer.data.rows import Row
from strongroom.trainer.evaluation.held_out import evaluate as score_held_out
from strongroom.trainer.model.lora import Policy
from strongroom.trainer.rollouts.evaluators import FunctionEvaluator

EVERY = 5
"""Steps between two points of a curve."""

Curve = list[tuple[int, float]]
"""Steps taken, and held-out accuracy after them."""

Run = dict[str, Any]
"""What one seed gave on both sides, as it stands in the bench's JSON document."""


@dataclass(frozen=True)
class Inputs:
    """What both sides train on."""

    folder: Path
    files: dict[str, bytes]
    train_rows: list[Row]
    held_out: list[Row]
    where: Where


def run_both(inputs: Inputs, steps: int, seed: int) -> Run:
    """Train each side to the end from the same adapter, on the same rows in the same order.

    Both are scored by the same greedy decoder: along the way on the held-out rows, off the clock,
    and at the end on the unseen ones.
    """
    config, unseen = settings(steps, seed), unseen_rows()
    scorer = FunctionEvaluator(evaluate)

    def accuracy(policy: Policy, rows: list[Row]) -> float:
        return score_held_out(policy, rows, scorer, config).metrics["accuracy"]

    ours = Ours(inputs.files, inputs.train_rows, inputs.where, seed)
    judged = Ours(inputs.files, inputs.train_rows, inputs.where, seed)
    theirs = Theirs(inputs.folder, inputs.train_rows, inputs.where)
    before = accuracy(ours.policy, inputs.held_out)

    def their_policy() -> Policy:
        theirs.copy_adapter(judged.policy)
        return judged.policy

    def reward(completions: list[Any], ground_truth: list[Any], **_: Any) -> list[float]:
        return [
            evaluate(completion, truth)["score"]
            for completion, truth in zip(completions, ground_truth, strict=True)
        ]

    our_curve, trl_curve = [(0, before)], [(0, before)]

    def watched(name: str, policy: Callable[[], Policy], curve: Curve) -> Callable[[], None]:
        taken = 0

        def turn() -> None:
            nonlocal taken
            taken += 1
            progress(f"seed {seed}, {name}", taken, steps)
            if taken % EVERY == 0 or taken == steps:
                curve.append((taken, accuracy(policy(), inputs.held_out)))

        return turn

    our_times = ours.steps(steps, seed, scorer, watched("ours", lambda: ours.policy, our_curve))
    their_times = theirs.steps(
        steps, seed, reward, watched("trl", their_policy, trl_curve), judged.policy
    )
    return {
        **taken_on(),
        "accuracy_before": before,
        "unseen_rows": len(unseen),
        "trl_run_s": round(sum(their_times.seconds), 1),
        "our_run_s": round(sum(our_times.seconds), 1),
        "trl_accuracy": round(accuracy(their_policy(), unseen), 4),
        "our_accuracy": round(accuracy(ours.policy, unseen), 4),
        "trl_zero_variance_share": round(statistics.mean(their_times.filtered), 3),
        "our_zero_variance_share": round(statistics.mean(our_times.filtered), 3),
        "trl_held_out": trl_curve,
        "our_held_out": our_curve,
    }


def trainer_digest() -> Sha256:
    """Of this project's trainer: another version's runs are other runs."""
    return digest_of([part for part in components() if part["name"].startswith("trainer/")])


def runs_of(inputs: Inputs, steps: int, seeds: Sequence[int], kept: Path | None) -> list[Run]:
    """A run for each of ``seeds``. One that stands in the file ``kept``, made by this version of
    the trainer, is not made again; one that is made is added to it, so that the hours may be
    spent in several sittings.
    """
    lines = kept.read_text(encoding="utf-8").splitlines() if kept and kept.exists() else []
    known = [json.loads(line) for line in lines]
    runs = []
    for seed in seeds:
        wanted = {
            **asdict(inputs.where),
            "trl": TRL_VERSION,
            "trainer": trainer_digest(),
            "steps": steps,
            "seed": seed,
        }
        found = [run for run in known if wanted.items() <= run.items()]
        run = found[-1] if found else wanted | run_both(inputs, steps, seed)
        if kept and not found:
            with kept.open("a", encoding="utf-8") as file:
                file.write(json.dumps(run) + "\n")
        runs.append(run)
    return runs


def summary(runs: list[Run]) -> dict[str, Any]:
    """The figures of all seeds together: the ratio of the sums of times, means of accuracies."""
    trl_s, our_s = (sum(run[f"{side}_run_s"] for run in runs) for side in ("trl", "our"))
    return {
        "run_ratio": round(trl_s / our_s, 2),
        "trl_accuracy": round(statistics.mean(run["trl_accuracy"] for run in runs), 4),
        "our_accuracy": round(statistics.mean(run["our_accuracy"] for run in runs), 4),
        "runs": runs,
    }


def drawing(runs: list[Run]) -> str:
    """Held-out accuracy of both sides over the steps, one line for each seed, as SVG."""
    width, height, left, top = 720, 360, 50, 20
    steps = max(run["steps"] for run in runs)

    def at(step: float, value: float) -> tuple[float, float]:
        x = left + (width - left - 20) * step / steps
        return round(x, 1), round(top + (height - top - 40) * (1 - value), 1)

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" '
        'font-family="sans-serif" font-size="12">',
        f'<rect width="{width}" height="{height}" fill="white"/>',
    ]
    for tick in (0, 0.25, 0.5, 0.75, 1):
        y = at(0, tick)[1]
        parts.append(f'<path d="M{left} {y}H{width - 20}" stroke="#ddd"/>')
        parts.append(f'<text x="{left - 8}" y="{y}" text-anchor="end">{tick:g}</text>')
    for step in range(0, steps + 1, max(1, steps // 6)):
        x = at(step, 0)[0]
        parts.append(f'<text x="{x}" y="{height - 20}" text-anchor="middle">{step}</text>')
    for row, (side, name, colour) in enumerate(
        (("trl", "TRL", "#b3541e"), ("our", "Strongroom", "#0b6e4f"))
    ):
        for run in runs:
            line = " ".join("{},{}".format(*at(*point)) for point in run[f"{side}_held_out"])
            parts.append(
                f'<polyline points="{line}" fill="none" stroke="{colour}" stroke-width="2" '
                'stroke-opacity="0.8"/>'
            )
        seconds = statistics.mean(run[f"{side}_run_s"] for run in runs)
        parts.append(
            f'<text x="{width - 30}" y="{top + 264 + 16 * row}" text-anchor="end" '
            f'fill="{colour}">{name}: {seconds:.0f} s a run</text>'
        )
    parts.append(
        f'<text x="{width - 30}" y="{top + 248}" text-anchor="end">'
        f"held-out accuracy over steps; seeds {', '.join(str(run['seed']) for run in runs)}</text>"
    )
    return "\n".join([*parts, "</svg>", ""])
