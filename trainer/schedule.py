"""Which rows each step trains on: a pure function of the seed and the step.

Rows are dealt from one shuffled deck per epoch, without replacement. Nothing is remembered
between steps, so a resumed run deals the same cards, and a worker can know beforehand which rows
it will ever need and keep only those in memory.
"""

from __future__ import annotations

import random
from functools import lru_cache

from trainer.config import TrainingConfig


@lru_cache(maxsize=4)
def _deck(seed: int, epoch: int, n_rows: int) -> tuple[int, ...]:
    deck = list(range(n_rows))
    random.Random(f"strongroom/schedule/v1/{seed}/{epoch}").shuffle(deck)  # noqa: S311
    return tuple(deck)


def row_indices(step: int, n_rows: int, prompts_per_step: int, seed: int) -> list[int]:
    """Indices of the rows of ``step`` (counted from 0), ``prompts_per_step`` of them."""
    indices = []
    for position in range(step * prompts_per_step, (step + 1) * prompts_per_step):
        epoch, card = divmod(position, n_rows)
        indices.append(_deck(seed, epoch, n_rows)[card])
    return indices


def needed_rows(config: TrainingConfig, n_rows: int) -> list[int]:
    """Sorted indices of all rows that a run of ``config`` touches."""
    if config.steps * config.prompts_per_step >= n_rows:
        return list(range(n_rows))
    return sorted(
        index
        for step in range(config.steps)
        for index in row_indices(step, n_rows, config.prompts_per_step, config.seed)
    )
