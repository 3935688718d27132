from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from strongroom.trainer.methods import DapoMethod
from strongroom.trainer.steps.schedule import needed_rows, row_indices
from support import tiny_model as tiny


def test_an_epoch_deals_every_row_once():
    dealt = [index for step in range(5) for index in row_indices(step * 4, 4, 20, seed=1)]
    assert sorted(dealt) == list(range(20))


def test_epochs_and_seeds_differ():
    first = [row_indices(step * 4, 4, 20, seed=1) for step in range(5)]
    second = [row_indices(step * 4, 4, 20, seed=1) for step in range(5, 10)]
    other = [row_indices(step * 4, 4, 20, seed=2) for step in range(5)]
    assert first != second
    assert first != other


@given(
    n_rows=st.integers(1, 50),
    prompts=st.integers(1, 9),
    steps=st.integers(1, 30),
    seed=st.integers(0, 2**63 - 1),
)
def test_no_row_gets_ahead_of_another_by_more_than_one(n_rows, prompts, steps, seed):
    counts = Counter(
        index
        for step in range(steps)
        for index in row_indices(step * prompts, prompts, n_rows, seed)
    )
    assert sum(counts.values()) == steps * prompts
    assert max(counts.values()) - min(counts[index] for index in range(n_rows)) <= 1


def test_order_is_pinned():
    """A changed shuffle would silently break the resumption of older runs."""
    assert row_indices(0, 4, 400, seed=0) == [318, 282, 240, 155]
    assert row_indices(520, 4, 400, seed=9) == [25, 257, 321, 232]


def test_needed_rows_are_those_that_steps_touch():
    config = tiny.tiny_config(steps=4, prompts_per_step=3, checkpoint_every=2)
    needed = needed_rows(config, 100)
    touched = {index for step in range(4) for index in row_indices(step * 3, 3, 100, config.seed)}
    assert needed == sorted(touched)
    assert needed_rows(config, 12) == list(range(12))


def test_needed_rows_include_those_that_refills_may_touch():
    config = tiny.tiny_config(steps=4, method=DapoMethod(refills=2), checkpoint_every=2)
    assert needed_rows(config, 100) == sorted(row_indices(0, 4 * 3 * 3, 100, config.seed))
