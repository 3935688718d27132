import torch

from strongroom.trainer.steps.logprobs import HEAD_CHUNK, TargetLogprobs


def whole(hidden, head, targets, temperature):
    logp = torch.log_softmax(hidden @ head.T / temperature, dim=-1)
    return logp.gather(1, targets[:, None]).squeeze(1), -(logp.exp() * logp).sum(-1)


def test_chunked_head_is_the_whole_head_with_its_gradient():
    generator = torch.Generator().manual_seed(0)
    size = HEAD_CHUNK * 2 + 7
    hidden = torch.randn(size, 16, dtype=torch.float64, generator=generator).requires_grad_()
    head = torch.randn(50, 16, dtype=torch.float64, generator=generator)
    targets = torch.randint(50, (size,), generator=generator)
    weights = torch.randn(size, dtype=torch.float64, generator=generator)
    logp, entropy = TargetLogprobs.apply(hidden, head, targets, 0.7)
    (logp * weights).sum().backward()
    grad, hidden.grad = hidden.grad, None
    expected, expected_entropy = whole(hidden, head, targets, 0.7)
    (expected * weights).sum().backward()
    torch.testing.assert_close(logp, expected, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(entropy, expected_entropy, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(grad, hidden.grad, rtol=1e-12, atol=1e-12)


def test_gradient_by_finite_differences():
    generator = torch.Generator().manual_seed(1)
    hidden = torch.randn(5, 8, dtype=torch.float64, generator=generator).requires_grad_()
    head = torch.randn(11, 8, dtype=torch.float64, generator=generator)
    targets = torch.tensor([0, 10, 3, 3, 7])
    assert torch.autograd.gradcheck(
        lambda h: TargetLogprobs.apply(h, head, targets, 1.3)[0], (hidden,)
    )
