"""A run judged by its reported numbers: alarms, when to end, what to publish.

Pure, and without torch: the controller, and an auditor with the log, come to the same verdicts from
the same numbers. Steps are counted from 1; a run's numbers are those of ``metric_names``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from strongroom.trainer.config import TrainingConfig

Alarm = Literal["no_signal", "reward_fell", "cut_off"]
StopReason = Literal["early_stopping", "time", "alarm"]

WINDOW = 10
"""Steps over which a verdict is formed; fewer say too little, at a few groups a step."""
ALMOST_ALL = 0.9

StepValues = Mapping[str, float]


@dataclass(frozen=True)
class Trend:
    """What the alarms need to know of the steps so far; each step makes the next ``Trend``.

    Reward and spread are means over ``WINDOW`` steps; the spread is how far scores differ within a
    group.
    """

    recent: tuple[StepValues, ...] = ()
    """The last ``WINDOW`` steps, or as many as there are."""
    first_reward: float = 0.0
    first_spread: float = 0.0
    """Of the first whole window."""
    best_reward: float = float("-inf")
    widest_spread: float = float("-inf")
    """Of all whole windows, the last one included."""

    def after(self, values: StepValues) -> Trend:
        """The trend once another step has reported ``values``."""
        trend = replace(self, recent=(*self.recent, values)[-WINDOW:])
        if len(trend.recent) < WINDOW:
            return trend
        reward, spread = trend.mean("reward_mean"), trend.mean("reward_std")
        if len(self.recent) < WINDOW:
            trend = replace(trend, first_reward=reward, first_spread=spread)
        return replace(
            trend,
            best_reward=max(trend.best_reward, reward),
            widest_spread=max(trend.widest_spread, spread),
        )

    def mean(self, name: str) -> float:
        """The mean of a metric over the last ``WINDOW`` steps."""
        return sum(values.get(name, 0.0) for values in self.recent) / WINDOW

    def alarms(self) -> list[Alarm]:
        """What is wrong after the last step, if anything."""
        if len(self.recent) < WINDOW:
            return []
        found: list[Alarm] = []
        if self.mean("zero_variance_share") >= ALMOST_ALL and not self._learned():
            found.append("no_signal")
        if self._reward_fell():
            found.append("reward_fell")
        if self.mean("truncated_share") >= ALMOST_ALL:
            found.append("cut_off")
        return found

    def _learned(self) -> bool:
        """Whether scores are equal because answers became right: the reward has risen by more than
        half of what scores differed by within a group at first, and stands as near to its best."""
        now, enough = self.mean("reward_mean"), self.first_spread / 2
        return now - self.first_reward > enough >= self.best_reward - now

    def _reward_fell(self) -> bool:
        """Whether the reward is below its best by more than scores ever differed within a group.

        That difference is the task's own measure of how far apart good and bad answers are.
        """
        return self.best_reward - self.mean("reward_mean") > self.widest_spread > 0


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


def seconds_left(steps: Sequence[StepValues], total: int) -> float | None:
    """Estimate of the time to the last step, from the last ``WINDOW`` steps; None before any."""
    recent = [step_seconds(values) for values in steps[-WINDOW:]]
    return (total - len(steps)) * sum(recent) / len(recent) if recent else None


def step_seconds(values: StepValues) -> float:
    """How long a step took."""
    return sum(values.get(f"seconds_{phase}", 0.0) for phase in ("rollout", "score", "learn"))
