"""Tokens are drawn from the distribution, and no other way than by one number each."""

import pytest
import torch

from strongroom.trainer.engines.drawing import BLOCK, draw


def logits(rows, entries, spread=3.0, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return spread * torch.randn(rows, entries, generator=generator)


def numbers(rows, seed):
    return torch.rand(rows, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def plainly(logits_BV, temperature, random_B):
    """The same number's place in one cumulative sum over all entries."""
    logprobs = torch.log_softmax(logits_BV.double() / temperature, dim=-1)
    cumulative = logprobs.exp().cumsum(dim=-1)
    point = random_B[:, None] * cumulative[:, -1:]
    token = torch.searchsorted(cumulative, point, right=True)
    return token.squeeze(1), logprobs.gather(1, token).squeeze(1)


@pytest.mark.parametrize("entries", [5, BLOCK, BLOCK + 1, 20 * BLOCK - 3])
@pytest.mark.parametrize("temperature", [0.3, 1.0, 2.5])
def test_blocks_draw_what_one_sum_over_all_draws(entries, temperature):
    given = logits(500, entries)
    random = numbers(500, seed=3)
    token, logprob = draw(given.clone(), temperature, random)
    expected, expected_logprob = plainly(given, temperature, random)
    assert (token == expected).float().mean() > 0.995  # a number on a border may fall either way
    same = token == expected
    assert torch.allclose(logprob[same].double(), expected_logprob[same], atol=1e-5)


@pytest.mark.parametrize("certain", [0, BLOCK - 1, BLOCK, 3 * BLOCK - 2])
def test_an_impossible_token_is_never_drawn(certain):
    """All weight on one token; the others' underflow to 0, at the borders of blocks too."""
    given = torch.full((2000, 3 * BLOCK - 1), -1e4)
    given[:, certain] = 50.0
    token, logprob = draw(given, 1.0, numbers(2000, seed=0))
    assert (token == certain).all()
    assert (logprob == 0).all()


@pytest.mark.parametrize("number", [0.0, 1 - 2**-53])
def test_the_ends_of_the_unit_interval_stay_inside(number):
    given = logits(50, 4 * BLOCK, spread=30.0)
    weights = torch.softmax(given.double(), dim=-1)
    token, logprob = draw(given.clone(), 1.0, torch.full((50,), number, dtype=torch.float64))
    assert (weights.gather(1, token[:, None]) > 0).all()
    assert logprob.isfinite().all()


def test_frequencies_follow_the_distribution():
    given = logits(1, 2 * BLOCK).repeat(40_000, 1)
    token, _ = draw(given.clone(), 1.0, numbers(40_000, seed=1))
    seen = torch.bincount(token, minlength=2 * BLOCK) / len(token)
    p = torch.softmax(given[0], dim=-1)
    # Six standard deviations, and a few draws more for what is too rare for them to mean much.
    deviation = (p * (1 - p) / len(token)).sqrt()
    assert ((seen - p).abs() < 6 * deviation + 4 / len(token)).all()


def test_greedy_takes_the_likeliest_whatever_the_number():
    given = logits(20, 700)
    token, logprob = draw(given, 0.0, numbers(20, seed=0))
    assert torch.equal(token, given.argmax(dim=-1))
    assert torch.equal(logprob, torch.log_softmax(given, dim=-1).amax(dim=-1))
