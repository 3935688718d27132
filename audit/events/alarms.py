"""The alarms that a training can raise: what each one means, and what may help."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

Alarm = Literal["no_signal", "reward_fell", "cut_off"]


@dataclass(frozen=True)
class Explanation:
    """An alarm in words."""

    meaning: str
    advice: str


ALARMS: Mapping[Alarm, Explanation] = {
    "no_signal": Explanation(
        "almost every group of completions scored all the same",
        "there is nothing to learn from: the task is too hard or too easy for the model, or the "
        "evaluator gives too few different scores",
    ),
    "reward_fell": Explanation(
        "the reward fell far below its best",
        "the policy collapsed: a lower learning_rate, a kl penalty or an earlier checkpoint may "
        "help",
    ),
    "cut_off": Explanation(
        "almost every completion was cut off at its greatest length",
        "raise max_tokens, or reward answers that end",
    ),
}
