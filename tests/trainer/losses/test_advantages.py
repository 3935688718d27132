import pytest
import torch

from strongroom.trainer.losses.advantages import (
    equal_groups,
    group_centred,
    group_normalised,
    leave_one_out,
)


def test_mean_zero_and_unit_deviation():
    advantages = group_normalised(torch.tensor([[1.0, 0.0, 0.0, 0.25], [2.0, 4.0, 6.0, 8.0]]))
    torch.testing.assert_close(advantages.mean(dim=1), torch.zeros(2), atol=1e-6, rtol=0)
    torch.testing.assert_close(advantages.std(dim=1), torch.ones(2), atol=1e-3, rtol=0)


def test_worked_example():
    advantages = group_normalised(torch.tensor([[1.0, 0.0]], dtype=torch.float64))
    expected = 0.5 / (0.5**0.5 + 1e-4)
    torch.testing.assert_close(advantages, torch.tensor([[expected, -expected]]))


def test_equal_rewards_give_exactly_zero():
    rewards = torch.tensor([[0.1] * 7, [0.3] * 6 + [0.30001]])
    assert equal_groups(rewards).tolist() == [True, False]
    assert group_normalised(rewards)[0].tolist() == [0.0] * 7


def test_centred_is_the_reward_less_the_group_s_mean():
    rewards = torch.tensor([[1.0, 0.0, 0.0, 0.25], [2.0, 4.0, 6.0, 8.0]])
    wanted = torch.tensor([[0.6875, -0.3125, -0.3125, -0.0625], [-3.0, -1.0, 1.0, 3.0]])
    assert torch.equal(group_centred(rewards), wanted)


def test_left_out_is_the_reward_less_the_mean_of_the_others():
    """By the sum over the others, not by the factor G / (G - 1) that the code uses."""
    rewards = torch.tensor([[1.0, 0.0, 0.0, 0.25], [2.0, 4.0, 6.0, 8.0]])
    wanted = torch.tensor(
        [
            [1.0 - 0.25 / 3, 0.0 - 1.25 / 3, 0.0 - 1.25 / 3, 0.25 - 1.0 / 3],
            [2.0 - 6.0, 4.0 - 16 / 3, 6.0 - 14 / 3, 8.0 - 4.0],
        ]
    )
    torch.testing.assert_close(leave_one_out(rewards), wanted)


@pytest.mark.parametrize("advantages", [group_normalised, group_centred, leave_one_out])
def test_equal_rewards_give_exactly_zero_in_every_method(advantages):
    """0.1 seven times has a mean that is not 0.1: without care the difference would count."""
    rewards = torch.tensor([[0.1] * 7], dtype=torch.float64)
    assert (rewards - rewards.mean()).any()
    assert not advantages(rewards).any()
