"""The course of a run, judged from its reported numbers: alarms, when to end, what to publish.

Pure, and without torch: whoever has the numbers (the controller, an auditor with the log) comes to
the same verdicts. Steps are counted from 1; a run's numbers are those of ``metric_names``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

from strongroom.trainer.config import TrainingConfig

Alarm = Literal["no_signal", "reward_fell", "cut_off"]
StopReason = Literal["early_stopping", "time", "alarm"]

ALARMS: Mapping[Alarm, str] = {
    "no_signal": "almost every group scored all the same, so there is nothing to learn from: the "
    "task is too hard or too easy for the model, or the evaluator gives too few different scores",
    "reward_fell": "the reward fell far below where it was: the policy collapsed; a lower "
    "learning_rate, a kl penalty or an earlier checkpoint may help",
    "cut_off": "almost every completion reached max_tokens without an end: raise max_tokens, or "
    "reward answers that end",
}

WINDOW = 10
"""Steps over which a verdict is formed; fewer say too little, at a few groups a step."""
ALMOST_ALL = 0.9

Steps = Sequence[Mapping[str, float]]


def alarms(steps: Steps) -> list[Alarm]:
    """What is wrong after the last of ``steps`` (metrics of steps 1, 2, …), if anything."""
    if len(steps) < WINDOW:
        return []
    found: list[Alarm] = []
    equal = _mean(steps, len(steps), "zero_variance_share") >= ALMOST_ALL
    if equal and not _learned(steps):
        found.append("no_signal")
    if _reward_fell(steps):
        found.append("reward_fell")
    if _mean(steps, len(steps), "truncated_share") >= ALMOST_ALL:
        found.append("cut_off")
    return found


def _learned(steps: Steps) -> bool:
    """Whether scores are equal because answers became right: the reward has risen by more than half
    of what scores differed by within a group at first, and stands as near to its best."""
    now = _mean(steps, len(steps), "reward_mean")
    best = max(_mean(steps, end, "reward_mean") for end in range(WINDOW, len(steps) + 1))
    enough = _mean(steps, WINDOW, "reward_std") / 2
    return now - _mean(steps, WINDOW, "reward_mean") > enough >= best - now


def _reward_fell(steps: Steps) -> bool:
    """Whether the reward is below its best by more than scores ever differed within a group.

    That difference is the task's own measure of how far apart good and bad answers are.
    """
    ends = range(WINDOW, len(steps) + 1)
    best = max(_mean(steps, end, "reward_mean") for end in ends)
    spread = max(_mean(steps, end, "reward_std") for end in ends)
    return best - _mean(steps, len(steps), "reward_mean") > spread > 0


def _mean(steps: Steps, end: int, name: str) -> float:
    """Mean over the ``WINDOW`` steps up to ``end``."""
    window = steps[end - WINDOW : end]
    return sum(values.get(name, 0.0) for values in window) / WINDOW


def best_step(scores: Mapping[int, float]) -> int:
    """The step of the highest held-out score, the earliest of equals. ``scores`` is not empty."""
    return min(scores, key=lambda step: (-scores[step], step))


def reason_to_stop(
    config: TrainingConfig,
    step: int,
    scores: Mapping[int, float],
    seconds: Sequence[float],
    alarmed: bool,
) -> StopReason | None:
    """Why training should end at the checkpoint after ``step``, before its last step.

    ``scores`` are the held-out scores of checkpoints by step; ``seconds`` the time of every step
    that was ever done, those lost to an interruption included; ``alarmed`` whether there has been
    an alarm.
    """
    if config.early_stopping and _waited(scores, config.early_stopping.min_gain) >= (
        config.early_stopping.patience
    ):
        return "early_stopping"
    if config.max_minutes is not None and seconds:
        ahead = min(config.checkpoint_every, config.steps - step) * sum(seconds) / len(seconds)
        if sum(seconds) + ahead > 60 * config.max_minutes:
            return "time"
    if config.on_alarm == "stop" and alarmed:
        return "alarm"
    return None


def _waited(scores: Mapping[int, float], min_gain: float) -> int:
    """Checkpoints in a row, up to the last, without a better score."""
    waited, best = 0, float("-inf")
    for step in sorted(scores):
        better = scores[step] > best + min_gain
        waited = 0 if better else waited + 1
        best = max(best, scores[step]) if better else best
    return waited


def seconds_left(steps: Steps, total: int) -> float | None:
    """Estimate of the time to the last step, from the last ``WINDOW`` steps; None before any."""
    recent = [step_seconds(values) for values in steps[-WINDOW:]]
    return (total - len(steps)) * sum(recent) / len(recent) if recent else None


def step_seconds(values: Mapping[str, float]) -> float:
    """How long a step took."""
    return sum(values.get(f"seconds_{phase}", 0.0) for phase in ("rollout", "score", "learn"))
