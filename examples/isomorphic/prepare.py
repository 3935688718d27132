"""Pairs of strings as rows, from ``isomorphic_strings`` of ``reasoning-gym``: half of them are
isomorphic, which is to say that one becomes the other by replacing letters one for one.
"""

from __future__ import annotations

from pathlib import Path

from examples.generated import entries
from examples.rows import Prompt, Question, Rows, distinct, split
from pipeline.packages import CACHE

PROMPT = Prompt(
    system="Two strings are isomorphic if replacing the letters of one gives the other. "
    "Answer True or False.",
    turns=(("egg add", "True"), ("foo bar", "False")),
)


def rows(cache: Path = CACHE) -> Rows:
    """400 rows to train on and 150 held out. Takes nothing from the cache.

    Raises ``SR-INPUT-007``.
    """
    found = distinct(
        Question(
            f"isomorphic_strings-{entry['metadata']['source_index']}",
            " ".join(entry["metadata"]["words"]),
            entry["answer"],
        )
        for entry in entries("isomorphic_strings", 2000, max_string_length=6)
    )
    kinds = [[each for each in found if each.answer == label] for label in ("True", "False")]
    return split(PROMPT, kinds, train=400, held_out=150)
