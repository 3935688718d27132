"""Which rows a run trains on, in which order: a pure function of the seed.

Rows are dealt from one shuffled deck per epoch, without replacement. All that is remembered between
steps is how many were dealt, so a resumed run deals the same cards, and a worker can know
beforehand which rows it may ever need and keep only those in memory.
"""

from __future__ import annotations

import random
from array import array
from functools import lru_cache

from strongroom.trainer.config import TrainingConfig
from strongroom.trainer.losses import build_objective


@lru_cache(maxsize=4)
def _deck(seed: int, epoch: int, n_rows: int) -> array[int]:
    # Four bytes a row: a list of numbers would be the largest thing in an enclave of many rows.
    deck = array("I", range(n_rows))
    random.Random(f"strongroom/schedule/v1/{seed}/{epoch}").shuffle(deck)  # noqa: S311
    return deck


def row_indices(first: int, count: int, n_rows: int, seed: int) -> list[int]:
    """Indices of the rows that are dealt as card ``first`` (from 0) and the ``count - 1`` after."""
    indices = []
    for position in range(first, first + count):
        epoch, card = divmod(position, n_rows)
        indices.append(_deck(seed, epoch, n_rows)[card])
    return indices


def needed_rows(config: TrainingConfig, n_rows: int) -> list[int]:
    """Sorted indices of all rows that a run of ``config`` can touch."""
    refills = build_objective(config.method, config.sampling.longest).refills
    most = config.steps * config.prompts_per_step * (1 + refills)
    if most >= n_rows:
        return list(range(n_rows))
    return sorted(row_indices(0, most, n_rows, config.seed))
