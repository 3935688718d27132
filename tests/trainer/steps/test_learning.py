"""A whole step of the learner against one worked by hand.

By hand: every completion has a pass of its own through the model, advantages and weights are plain
Python. So counts, skipped groups and correction weights are those that the learner really uses.
"""

from statistics import mean, stdev

import pytest
import torch
from msgspec.structs import replace

from strongroom.trainer.engines import build_engine
from strongroom.trainer.losses import build_objective
from strongroom.trainer.methods import (
    CispoMethod,
    DapoMethod,
    DrGrpoMethod,
    GrpoMethod,
    GspoMethod,
    RlooMethod,
)
from strongroom.trainer.rollouts.prompts import encode_prompt
from strongroom.trainer.steps.learning import Learner
from strongroom.trainer.steps.optimizer import AdamW
from strongroom.trainer.steps.state import new_state
from support import tiny_model as tiny

REWARDS = [[1.0, 0.0, 0.25, 0.0], [0.5] * 4, [0.0, 2.0, 0.0, 1.0]]
"""The group in the middle teaches nothing and is skipped."""
MAX_TOKENS = 8


class Watched(AdamW):
    """Keeps the gradient of its last update."""

    def step(self, learning_rate):
        self.seen = self._policy.flat_grad.clone()
        return super().step(learning_rate)


@pytest.fixture(scope="module")
def rollouts():
    policy = tiny.tiny_policy()
    engine = build_engine(tiny.tiny_config().engine, policy)
    prompts = [encode_prompt(policy, row) for row in tiny.tiny_rows(3)]
    found = engine.generate(prompts, 4, MAX_TOKENS, 1.0, torch.Generator().manual_seed(0))
    assert len(set(found.lengths_B.tolist())) > 2
    return found


def learned(rollouts, method, **settings):
    """The gradient and the numbers of one step on the rollouts."""
    policy = tiny.tiny_policy()
    config = tiny.tiny_config(method=method, **settings)
    objective = build_objective(config.method, config.sampling.longest)
    sampled = tiny.scored(rollouts, REWARDS, objective)
    state = new_state(policy, config)
    state.optimizer = optimizer = Watched(policy)
    values = Learner(policy, objective, config).learn(sampled, state)
    return optimizer.seen, values


def by_hand(rollouts, advantage, weight, cap=None, averaged=False):
    """Gradient of ``-Σ_i weight(|o_i|) Â_i Σ_t w_it log π(o_it)``: every method's, on-policy.

    ``w_it`` is trainer over sampler probability, at most ``cap``; 1 for None. With one ratio for a
    whole completion its tokens' weights are ``averaged``.
    """
    policy = tiny.tiny_policy()
    total = torch.zeros(())
    for completion, length in enumerate(rollouts.lengths_B.tolist()):
        group, place = divmod(completion, 4)
        prompt = rollouts.prompts[group]
        answer = rollouts.tokens_BT[completion, :length]
        ids = torch.cat([torch.tensor(prompt), answer])[None]
        logits = policy.base.model(ids).logits[0, len(prompt) - 1 : -1]
        logprobs = logits.log_softmax(dim=1).gather(1, answer[:, None]).squeeze(1)
        if cap is not None:
            drawn = rollouts.logprobs_BT[completion, :length]
            weights = (logprobs.detach() - drawn).exp().clamp(max=cap)
            logprobs = logprobs * (weights.mean() if averaged else weights)
        total -= weight(length) * advantage(REWARDS[group], place) * logprobs.sum()
    total.backward()
    return policy.flat_grad.clone()


def normalised(rewards, place):
    return (rewards[place] - mean(rewards)) / (stdev(rewards) + 1e-4)


def centred(rewards, place):
    return rewards[place] - mean(rewards)


def left_out(rewards, place):
    return rewards[place] - mean(rewards[:place] + rewards[place + 1 :])


def cases(rollouts):
    """Method, advantage and weight of a completion of so many tokens, the skipped ones counted."""
    tokens = int(rollouts.lengths_B.sum())
    kept = int(rollouts.lengths_B.view(3, 4)[[0, 2]].sum())
    whole = {"mask_truncated": False, "refills": 0}
    return {
        "grpo": (GrpoMethod(), normalised, lambda length: 1 / 12 / length),
        "dr_grpo": (DrGrpoMethod(), centred, lambda length: 1 / 12 / MAX_TOKENS),
        "dapo": (DapoMethod(**whole), normalised, lambda length: 1 / tokens),
        "dapo, refilled": (
            DapoMethod(mask_truncated=False, refills=1),
            normalised,
            lambda length: 1 / kept,
        ),
        "gspo": (GspoMethod(), normalised, lambda length: 1 / 12 / length),
        "gspo-token": (GspoMethod(level="token"), normalised, lambda length: 1 / 12 / length),
        "cispo": (CispoMethod(), normalised, lambda length: 1 / tokens),
        "rloo": (RlooMethod(), left_out, lambda length: 1 / 12),
    }


NAMES = ("grpo", "dr_grpo", "dapo", "dapo, refilled", "gspo", "gspo-token", "cispo", "rloo")


@pytest.mark.parametrize("name", NAMES)
def test_a_step_s_gradient_is_the_one_worked_by_hand(rollouts, name):
    method, advantage, weight = cases(rollouts)[name]
    gradient, values = learned(rollouts, method)
    wanted = by_hand(rollouts, advantage, weight)
    assert wanted.norm() > 1e-2
    torch.testing.assert_close(gradient, wanted, rtol=1e-4, atol=1e-5)
    assert values["groups_trained"] == 2
    assert values["grad_norm"] == pytest.approx(wanted.norm().item(), rel=1e-4)
    # The control: another count, another advantage.
    for other in (
        by_hand(rollouts, advantage, lambda length: weight(length) * 12 / 8),
        by_hand(rollouts, lambda rewards, place: rewards[place], weight),
    ):
        assert (gradient - other).norm() > 0.1 * wanted.norm()


@pytest.mark.parametrize("name", sorted(set(NAMES) - {"rloo"}))
def test_a_sampler_s_disagreement_is_weighed_in_the_step(rollouts, name):
    method, advantage, weight = cases(rollouts)[name]
    noise = torch.randn(rollouts.logprobs_BT.shape, generator=torch.Generator().manual_seed(1))
    apart = replace(rollouts, logprobs_BT=rollouts.logprobs_BT + 0.5 * noise)
    assert (noise < -1).any()  # some weights are capped
    gradient, values = learned(apart, method, sampler_correction=1.5)
    wanted = by_hand(apart, advantage, weight, cap=1.5, averaged=name == "gspo")
    torch.testing.assert_close(gradient, wanted, rtol=1e-4, atol=1e-5)
    assert values["sampler_gap_mean"] > 0.2
    # The control: without it, and with another cap, the step is another one.
    for settings in ({}, {"sampler_correction": 1.1}):
        other, _ = learned(apart, method, **settings)
        assert (gradient - other).norm() > 0.05 * gradient.norm()
