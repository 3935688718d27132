"""Which rows a run trains on, in which order: a pure function of the seed.

Each epoch takes every row once, in an order of its own. Between steps only the number of rows taken
is kept, so a resumed run takes the same ones, and which rows a run can ever need is known
beforehand, so that only those are kept in memory.
"""

from __future__ import annotations

import random
from array import array
from functools import lru_cache

from strongroom.trainer.config import TrainingConfig
from strongroom.trainer.losses import build_objective


@lru_cache(maxsize=4)
def _order(seed: int, epoch: int, n_rows: int) -> array[int]:
    # Four bytes a row: a list of numbers would be the largest thing in an enclave of many rows.
    order = array("I", range(n_rows))
    random.Random(f"strongroom/schedule/v1/{seed}/{epoch}").shuffle(order)  # noqa: S311
    return order


def row_indices(first: int, count: int, n_rows: int, seed: int) -> list[int]:
    """Indices of the row that a run takes at ``first`` (from 0) and of the ``count - 1`` after."""
    indices = []
    for position in range(first, first + count):
        epoch, place = divmod(position, n_rows)
        indices.append(_order(seed, epoch, n_rows)[place])
    return indices


def needed_rows(config: TrainingConfig, n_rows: int) -> list[int]:
    """Sorted indices of all rows that a run of ``config`` can take."""
    refills = build_objective(config.method, config.sampling.longest).refills
    most = config.steps * config.prompts_per_step * (1 + refills)
    if most >= n_rows:
        return list(range(n_rows))
    return sorted(row_indices(0, most, n_rows, config.seed))
