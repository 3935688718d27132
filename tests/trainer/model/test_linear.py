"""Products in float32 where that is what the processor is fast in."""

from copy import deepcopy

import pytest
import torch
from torch import nn

from strongroom.trainer.loop import train
from strongroom.trainer.model.base import load_base
from strongroom.trainer.model.linear import Float32Linear
from strongroom.trainer.steps.state import new_state
from support import tiny_model as tiny

IDS = torch.tensor([[5, 6, 7, 8, 9, 10]])


@pytest.fixture(params=[True, False], ids=["bias", "no-bias"])
def linear(request):
    torch.manual_seed(0)
    return nn.Linear(384, 96, bias=request.param).bfloat16().requires_grad_(False)


def load(monkeypatch, dtype, instructions):
    monkeypatch.setattr("strongroom.trainer.model.linear.has_bfloat16", lambda: instructions)
    return load_base(tiny.tiny_files(), dtype, threads=1).model


def layers(model):
    return [each for each in model.modules() if isinstance(each, nn.Linear)]


def test_only_the_place_in_memory_is_turned(linear):
    linear.float()
    turned, x = Float32Linear(linear), torch.randn(3, 7, 384)
    assert turned.weight.shape == linear.weight.shape
    assert turned.weight.stride() == (1, 96)
    assert torch.equal(turned.weight, linear.weight)
    torch.testing.assert_close(turned(x), linear(x), rtol=1e-5, atol=1e-5)


def rounded_alike(found, exact):
    """Share of the numbers that are the exact ones, rounded once."""
    return (found == exact.bfloat16()).float().mean()


def test_a_product_of_bfloat16_is_the_exact_one_rounded_once(linear):
    x = torch.randn(64, 384).bfloat16()
    product = Float32Linear(linear)(x)
    exact = deepcopy(linear).double()(x.double())
    assert product.dtype == torch.bfloat16
    assert rounded_alike(product, exact) > 0.999
    # The control: terms that are added up in bfloat16.
    terms_RON = x[:, None, :] * linear.weight
    added = terms_RON[..., 0]
    for index in range(1, terms_RON.shape[-1]):
        added = added + terms_RON[..., index]
    assert rounded_alike(added, exact) < 0.5


def test_the_gradient_goes_through_it_as_through_any(linear):
    x = torch.randn(64, 384).bfloat16().requires_grad_()
    slope = torch.randn(64, 96).bfloat16()
    (found,) = torch.autograd.grad(Float32Linear(linear)(x), x, slope)
    assert found.dtype == torch.bfloat16
    assert rounded_alike(found, slope.double() @ linear.weight.double()) > 0.999


def test_float32_is_multiplied_so_on_every_processor(monkeypatch):
    for instructions in (True, False):
        found = layers(load(monkeypatch, torch.float32, instructions))
        assert found
        assert all(isinstance(each, Float32Linear) for each in found)


def test_bfloat16_is_where_there_are_no_instructions_for_it(monkeypatch):
    with_them = load(monkeypatch, torch.bfloat16, instructions=True)
    without = load(monkeypatch, torch.bfloat16, instructions=False)
    assert not any(isinstance(each, Float32Linear) for each in layers(with_them))
    assert all(isinstance(each, Float32Linear) for each in layers(without))
    assert with_them.dtype == without.dtype == torch.bfloat16
    one, other = (model.get_decoder()(IDS).last_hidden_state for model in (with_them, without))
    assert one.dtype == other.dtype == torch.bfloat16
    torch.testing.assert_close(one, other, rtol=0.02, atol=0.02)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_shared_embedding_stays_as_it_was(monkeypatch, dtype):
    model = load(monkeypatch, dtype, instructions=False)
    embedding, head = model.get_input_embeddings().weight, model.get_output_embeddings().weight
    assert embedding.is_contiguous()
    assert embedding.dtype == dtype
    assert torch.equal(embedding.float(), head)


@pytest.mark.parametrize("instructions", [True, False])
def test_a_step_in_bfloat16(monkeypatch, instructions):
    """What the sampler drew is as likely to the trainer, and the adapter learns."""
    monkeypatch.setattr("strongroom.trainer.model.linear.has_bfloat16", lambda: instructions)
    policy = tiny.tiny_policy(torch.bfloat16)
    before, taken = policy.flat.clone(), []
    config = tiny.tiny_config(steps=1, warmup_steps=0)
    state = new_state(policy, config)
    train(policy, tiny.tiny_rows(), tiny.letter_evaluator(), config, state, taken.append)
    assert taken[0].values["sampler_gap_mean"] < 0.02
    assert not torch.equal(policy.flat, before)
