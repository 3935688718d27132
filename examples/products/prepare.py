"""Products of two four-digit numbers as rows, from ``products`` of ``reasoning-gym``."""

from __future__ import annotations

from pathlib import Path

from strongroom.examples.generated import entries
from strongroom.examples.packages import CACHE
from strongroom.examples.rows import Prompt, Question, Rows, distinct, split

PROMPT = Prompt(
    system="Multiply the two numbers. Answer with the product only.",
    turns=(("12 * 34", "408"), ("3005 * 2000", "6010000")),
)


def rows(cache: Path = CACHE) -> Rows:
    """400 rows to train on and 150 held out. Takes nothing from the cache.

    Raises ``SR-INPUT-007``.
    """
    found = distinct(
        Question(
            f"products-{entry['metadata']['source_index']}",
            entry["metadata"]["expression"],
            entry["answer"],
        )
        for entry in entries("products", 600, min_digits=4, max_digits=4, min_terms=2, max_terms=2)
    )
    return split(PROMPT, [found], train=400, held_out=150)
