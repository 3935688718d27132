"""Three numbers to sort as rows, from ``number_sorting`` of ``reasoning-gym``.

The task's own question tells at length of a format with brackets and quotes; a short one leaves a
small model its tokens for the numbers. Only the ascending half of its entries is taken.
"""

from __future__ import annotations

from pathlib import Path

from examples.generated import entries
from examples.rows import Prompt, Question, Rows, split
from pipeline.packages import CACHE

SETTINGS = {
    "min_numbers": 3,
    "max_numbers": 3,
    "min_decimals": 0,
    "max_decimals": 0,
    "min_value": 0,
    "max_value": 99,
}

PROMPT = Prompt(
    system="Sort the numbers from smallest to largest.",
    turns=(("52, 9, 33", "9, 33, 52"), ("4, 81, 17", "4, 17, 81")),
)


def rows(cache: Path = CACHE) -> Rows:
    """500 rows to train on and 100 held out; no three numbers are in both, in any order.

    Takes nothing from the cache. Raises ``SR-INPUT-007``.
    """
    questions: dict[tuple[str, ...], Question] = {}
    for entry in entries("number_sorting", 1400, **SETTINGS):
        found = entry["metadata"]
        if found["direction"] == "descending":
            continue
        numbers, right = (
            [number.removesuffix(".0") for number in found[name]]
            for name in ("original_numbers", "sorted_numbers")
        )
        name = f"number_sorting-{found['source_index']}"
        questions.setdefault(tuple(right), Question(name, ", ".join(numbers), ", ".join(right)))
    return split(PROMPT, [list(questions.values())], train=500, held_out=100)
