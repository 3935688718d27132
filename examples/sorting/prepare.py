"""Three numbers to sort as rows, from ``number_sorting`` of ``reasoning-gym``.

The task's own question tells at length of a format with brackets and quotes; a short one leaves a
small model its tokens for the numbers.
"""

from __future__ import annotations

from pathlib import Path

from examples.generated import entries
from examples.rows import Prompt, Question, Rows, split
from pipeline.packages import CACHE

ORDER = {"ascending": "smallest first", "descending": "largest first"}
SETTINGS = {
    "min_numbers": 3,
    "max_numbers": 3,
    "min_decimals": 0,
    "max_decimals": 0,
    "min_value": 0,
    "max_value": 99,
}

PROMPT = Prompt(
    system="Sort the numbers.",
    turns=(("4, 81, 17 (largest first)", "81, 17, 4"), ("52, 9, 33 (smallest first)", "9, 33, 52")),
)


def rows(cache: Path = CACHE) -> Rows:
    """500 rows to train on and 150 held out; no three numbers are in both, in any order.

    Takes nothing from the cache. Raises ``SR-INPUT-007``.
    """
    questions: dict[tuple[str, ...], Question] = {}
    for entry in entries("number_sorting", 800, **SETTINGS):
        found = entry["metadata"]
        numbers, right = (
            [number.removesuffix(".0") for number in found[name]]
            for name in ("original_numbers", "sorted_numbers")
        )
        text = f"{', '.join(numbers)} ({ORDER[found['direction']]})"
        name = f"number_sorting-{found['source_index']}"
        questions.setdefault(tuple(sorted(numbers)), Question(name, text, ", ".join(right)))
    return split(PROMPT, [list(questions.values())], train=500, held_out=150)
