import pytest
import torch

from strongroom.trainer.errors import NotFinite
from strongroom.trainer.steps.optimizer import BETAS, AdamW, warmed_up
from support import tiny_model as tiny


def test_updates_are_those_of_torchs_adamw():
    policy = tiny.tiny_policy()
    expected = torch.nn.Parameter(policy.flat.clone())
    oracle = torch.optim.AdamW([expected], lr=3e-3, betas=BETAS, weight_decay=0.0)
    optimizer = AdamW(policy)
    generator = torch.Generator().manual_seed(5)
    for scale in (0.001, 10.0, 1.0, 0.01, 3.0):
        grad = torch.randn(policy.flat.shape, generator=generator) * scale
        policy.flat_grad.copy_(grad)
        expected.grad = grad.clone()
        norm = torch.nn.utils.clip_grad_norm_([expected], 1.0)
        assert optimizer.step(3e-3) == pytest.approx(norm.item(), rel=1e-5)
        oracle.step()
        torch.testing.assert_close(policy.flat, expected.data, rtol=1e-5, atol=1e-7)
        assert not policy.flat_grad.any()


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_a_gradient_that_is_not_finite_changes_nothing(bad):
    policy = tiny.tiny_policy()
    before = policy.flat.clone()
    optimizer = AdamW(policy)
    policy.flat_grad[3] = bad
    with pytest.raises(NotFinite):
        optimizer.step(1e-3)
    assert torch.equal(policy.flat, before)
    assert optimizer.updates == 0


def test_warm_up_is_linear_then_constant():
    assert [warmed_up(1.0, step, 4) for step in range(6)] == [0.25, 0.5, 0.75, 1.0, 1.0, 1.0]
    assert warmed_up(1.0, 0, 0) == 1.0
