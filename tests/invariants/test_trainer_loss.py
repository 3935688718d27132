"""What must hold of the GRPO loss whatever the completions are."""

from dataclasses import replace

import pytest
import torch

from trainer.losses import LossInput
from trainer.losses.grpo import Grpo, k3


def tokens(*, seed=0, off_policy=0.0, kl=False, dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)
    lengths = torch.tensor([3, 1, 5, 2, 4, 4])
    size = int(lengths.sum())
    logprobs = -torch.rand(size, dtype=dtype, generator=generator) * 3 - 0.01
    noise = torch.randn(size, dtype=dtype, generator=generator)
    return LossInput(
        logprobs_K=logprobs.requires_grad_(),
        old_logprobs_K=logprobs.detach() + off_policy * noise,
        reference_logprobs_K=logprobs.detach() + 0.3 * noise if kl else None,
        advantages_C=torch.randn(6, dtype=dtype, generator=generator),
        completion_K=torch.repeat_interleave(torch.arange(6), lengths),
        lengths_C=lengths,
        n_completions=8,
    )


def equation_3(t, epsilon, beta):
    """The paper's objective, term by term in plain Python."""
    total = 0.0
    for i, length in enumerate(t.lengths_C.tolist()):
        inner = 0.0
        for k in (t.completion_K == i).nonzero().flatten().tolist():
            rho = torch.exp(t.logprobs_K[k] - t.old_logprobs_K[k]).item()
            A = t.advantages_C[i].item()
            inner += min(rho * A, max(min(rho, 1 + epsilon), 1 - epsilon) * A)
            if t.reference_logprobs_K is not None:
                log_r = (t.reference_logprobs_K[k] - t.logprobs_K[k]).item()
                inner -= beta * (torch.tensor(log_r, dtype=torch.float64).exp().item() - log_r - 1)
        total += inner / length
    return -total / t.n_completions


@pytest.mark.parametrize("off_policy", [0.0, 0.1, 1.0])
@pytest.mark.parametrize("kl", [False, True])
def test_loss_is_equation_3(off_policy, kl):
    t = tokens(off_policy=off_policy, kl=kl)
    loss = Grpo(clip=0.2, kl=0.05 if kl else 0.0).loss(t).loss
    assert loss.item() == pytest.approx(equation_3(t, 0.2, 0.05), rel=1e-12)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("kl", [False, True])
def test_gradient_by_finite_differences(seed, kl):
    t = tokens(seed=seed, off_policy=0.1, kl=kl)
    objective = Grpo(clip=0.2, kl=0.05 if kl else 0.0)
    assert torch.autograd.gradcheck(
        lambda logprobs: objective.loss(replace(t, logprobs_K=logprobs)).loss, (t.logprobs_K,)
    )


def test_on_policy_the_ratio_is_one_and_nothing_is_clipped():
    t = tokens(dtype=torch.float32)
    t = replace(t, old_logprobs_K=t.logprobs_K.detach())
    assert torch.equal((t.logprobs_K - t.old_logprobs_K).exp(), torch.ones_like(t.logprobs_K))
    assert Grpo(clip=0.2, kl=0.0).loss(t).metrics == {"clip_share": 0.0, "kl": 0.0}


def test_far_off_policy_tokens_are_clipped_and_get_no_gradient():
    t = tokens(off_policy=3.0)
    output = Grpo(clip=0.2, kl=0.0).loss(t)
    output.loss.backward()
    rho = (t.logprobs_K - t.old_logprobs_K).exp()
    A = t.advantages_C[t.completion_K]
    clipped = ((A > 0) & (rho > 1.2)) | ((A < 0) & (rho < 0.8))
    assert clipped.any()
    assert not t.logprobs_K.grad[clipped].any()
    assert t.logprobs_K.grad[~clipped].all()
    assert output.metrics["clip_share"] == pytest.approx(clipped.double().mean().item())


def test_the_gradient_raises_good_completions_and_lowers_bad_ones():
    t = tokens()
    Grpo(clip=0.2, kl=0.0).loss(t).loss.backward()
    assert torch.equal(t.logprobs_K.grad.sign(), -t.advantages_C[t.completion_K].sign())


def test_equal_rewards_give_no_gradient():
    objective = Grpo(clip=0.2, kl=0.0)
    advantages = objective.advantages(torch.full((2, 3), 0.1)).double().flatten()
    t = replace(tokens(), advantages_C=advantages)
    objective.loss(t).loss.backward()
    assert not t.logprobs_K.grad.any()


def test_k3_is_never_negative_and_zero_at_equality():
    generator = torch.Generator().manual_seed(0)
    a, b = -torch.rand(2, 1000, generator=generator, dtype=torch.float64) * 5
    assert (k3(a, b) >= 0).all()
    assert not k3(a, a).any()
