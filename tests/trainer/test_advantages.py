import torch

from trainer.advantages import equal_groups, group_normalised


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
