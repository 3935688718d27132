"""On a GPU the trainer computes what it computes on the CPU."""

import pytest
import torch

from strongroom.trainer.checkpoints.checkpoint import load_adapter, resumed_state, save
from strongroom.trainer.engines.hf import HfSampler
from strongroom.trainer.loop import train
from strongroom.trainer.methods import GrpoMethod
from strongroom.trainer.rollouts.prompts import encode_prompt
from strongroom.trainer.steps.batch import pack_groups
from strongroom.trainer.steps.logprobs import completion_logprobs
from strongroom.trainer.steps.state import new_state
from support import tiny_model as tiny

pytestmark = pytest.mark.skipif(
    not torch.cuda.is_available(), reason="no GPU: the trainer is not tested on one here"
)


def sampled(policy, temperature):
    prompts = [encode_prompt(policy, row) for row in tiny.tiny_rows(4)]
    generator = torch.Generator().manual_seed(5)
    return HfSampler(policy).generate(prompts, 4, 8, temperature, generator)


def test_the_adapter_starts_the_same():
    assert torch.equal(tiny.tiny_policy(device="cuda").flat.cpu(), tiny.tiny_policy().flat)


def test_greedy_completions_are_those_of_the_cpu():
    there, here = sampled(tiny.tiny_policy(device="cuda"), 0.0), sampled(tiny.tiny_policy(), 0.0)
    assert torch.equal(there.tokens_BT, here.tokens_BT)
    torch.testing.assert_close(there.logprobs_BT, here.logprobs_BT, rtol=0, atol=1e-4)


def test_sampler_and_trainer_agree_there_and_with_the_cpu():
    there, here = tiny.tiny_policy(device="cuda"), tiny.tiny_policy()
    rollouts = sampled(there, 1.0)
    batch = pack_groups(rollouts, range(4), torch.ones(4, 4, dtype=torch.bool))
    found = completion_logprobs(there, batch.to(there.device), 1.0)[0].cpu()
    torch.testing.assert_close(found, batch.sampler_logprobs_K, rtol=0, atol=1e-4)
    expected = completion_logprobs(here, batch, 1.0)[0]
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-4)


@pytest.mark.parametrize("method", [GrpoMethod(), GrpoMethod(kl=0.05)], ids=repr)
def test_it_learns_there_and_goes_on_here(method):
    config = tiny.tiny_config(method=method, steps=30, checkpoint_every=30)
    policy, steps = tiny.tiny_policy(device="cuda", awake=False), []
    state = new_state(policy, config)
    train(policy, tiny.tiny_rows(), tiny.letter_evaluator(), config, state, steps.append)
    rewards = [step.values["reward_mean"] for step in steps]
    assert sum(rewards[-5:]) > sum(rewards[:5])
    checkpoint = save(policy, state, config)
    here = tiny.tiny_policy(awake=False)
    load_adapter(here, checkpoint.adapter)
    assert torch.equal(here.flat, policy.flat.cpu())
    assert torch.equal(
        resumed_state(here, config, checkpoint).optimizer.exp_avg, state.optimizer.exp_avg.cpu()
    )
