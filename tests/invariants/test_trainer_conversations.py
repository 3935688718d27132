"""What must hold of conversations: only what was sampled is learned from, and exactly so."""

import hashlib

import pytest
import torch
from msgspec.structs import replace

from strongroom.trainer.checkpoints.checkpoint import resumed_state
from strongroom.trainer.config import Sampling
from strongroom.trainer.engines import build_engine
from strongroom.trainer.loop import train
from strongroom.trainer.losses import build_objective
from strongroom.trainer.methods import DapoMethod, GrpoMethod, GspoMethod, RlooMethod
from strongroom.trainer.rollouts.conversations import Conversations
from strongroom.trainer.steps.batch import pack_groups
from strongroom.trainer.steps.learning import Learner
from strongroom.trainer.steps.logprobs import completion_logprobs
from strongroom.trainer.steps.state import new_state
from support import tiny_model as tiny

SAMPLING = Sampling(max_tokens=10, max_turns=3)
SAMPLES = 5


@pytest.fixture
def policy():
    return tiny.tiny_policy()


@pytest.fixture
def rollouts(policy):
    config = tiny.tiny_config(sampling=SAMPLING)
    engine = build_engine(config.engine, policy)
    conversations = Conversations(policy, engine, tiny.Counting(), config)
    generator = torch.Generator().manual_seed(0)
    found = conversations.hold(range(4), tiny.tiny_rows(4), SAMPLES, 0.8, generator)[1]
    turns = found.given_BT.diff(dim=1).eq(1).sum(dim=1)
    assert sorted(turns.unique().tolist()) == [0, 2, 4]  # conversations of one, two, three turns
    return found


def pack(rollouts, groups=(0, 1, 2, 3)):
    every = torch.ones(len(rollouts.prompts), SAMPLES, dtype=torch.bool)
    return pack_groups(rollouts, list(groups), every)


def separately(policy, rollouts, groups=(0, 1, 2, 3)):
    """Each conversation in a forward pass of its own; of that, the sampled tokens."""
    logprobs = []
    for b in (group * SAMPLES + sample for group in groups for sample in range(SAMPLES)):
        prompt = torch.tensor(rollouts.prompts[b // SAMPLES])
        branch = rollouts.tokens_BT[b, : rollouts.sizes_B[b]]
        logits = policy.base.model(torch.cat([prompt, branch])[None]).logits[0] / 0.8
        every = torch.log_softmax(logits[len(prompt) - 1 : -1], -1).gather(1, branch[:, None])
        logprobs.append(every.squeeze(1)[~rollouts.given_BT[b, : len(branch)]])
    return torch.cat(logprobs)


def gradient(policy, logprobs):
    policy.flat_grad.zero_()
    (logprobs * torch.linspace(-1, 1, len(logprobs))).sum().backward()
    return policy.flat_grad.clone()


@pytest.mark.parametrize("groups", [(0,), (0, 1, 2, 3), (3, 1)])
def test_shared_rows_equal_separate_passes(policy, rollouts, groups):
    batch = pack(rollouts, groups)
    shared, _ = completion_logprobs(policy, batch, 0.8)
    shared_gradient = gradient(policy, shared)
    apart = separately(policy, rollouts, groups)
    torch.testing.assert_close(shared, apart, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(shared_gradient, gradient(policy, apart), rtol=1e-4, atol=1e-5)


def test_sampler_and_trainer_agree(policy, rollouts):
    """So what the trainer sees before each sampled token is what the sampler saw."""
    batch = pack(rollouts)
    logprobs, _ = completion_logprobs(policy, batch, 0.8)
    assert (logprobs - batch.sampler_logprobs_K).abs().max() < 1e-4
    assert len(logprobs) == int(rollouts.lengths_B.sum())
    assert torch.equal(batch.lengths_C, rollouts.lengths_B)


def test_a_turn_that_was_encoded_otherwise_is_seen(policy, rollouts):
    """The control: other given tokens are another context, and sampler and trainer disagree."""
    other = rollouts.tokens_BT.masked_fill(rollouts.given_BT, 77)
    batch = pack(replace(rollouts, tokens_BT=other))
    logprobs, _ = completion_logprobs(policy, batch, 0.8)
    assert (logprobs - batch.sampler_logprobs_K).abs().max() > 1e-2


def learned(rollouts, method):
    """The adapter and the reported numbers after one update on the rollouts."""
    policy = tiny.tiny_policy()
    config = tiny.tiny_config(
        sampling=SAMPLING, samples_per_prompt=SAMPLES, prompts_per_step=4, method=method
    )
    objective = build_objective(config.method, config.sampling.longest)
    rewards_PG = torch.rand(4, SAMPLES, generator=torch.Generator().manual_seed(1))
    sampled = tiny.scored(rollouts, rewards_PG, objective)
    values = Learner(policy, objective, config).learn(sampled, new_state(policy, config))
    return policy.flat.clone(), values


METHODS = [GrpoMethod(kl=0.05), DapoMethod(mask_truncated=False), GspoMethod(), RlooMethod()]


@pytest.mark.parametrize("method", METHODS, ids=lambda method: method.type)
def test_log_probabilities_of_given_tokens_change_nothing(rollouts, method):
    """Poison where nothing was sampled: loss, gradient and numbers stay, bit for bit."""
    sampled_BT = (torch.arange(rollouts.tokens_BT.shape[1]) < rollouts.sizes_B[:, None]) & ~(
        rollouts.given_BT
    )
    poisoned = rollouts.logprobs_BT.masked_fill(~sampled_BT, float("nan"))
    weights, values = learned(rollouts, method)
    same_weights, same_values = learned(replace(rollouts, logprobs_BT=poisoned), method)
    assert torch.equal(weights, same_weights)
    assert values == same_values


@pytest.mark.parametrize("method", METHODS, ids=lambda method: method.type)
def test_learning_from_given_tokens_would_be_something_else(rollouts, method):
    """The control: without the mask the update is another one."""
    weights, _ = learned(rollouts, method)
    unmasked = replace(rollouts, given_BT=None, lengths_B=rollouts.sizes_B)
    assert not torch.equal(weights, learned(unmasked, method)[0])


def run(policy=None, **changes):
    policy = policy or tiny.tiny_policy(awake=False)
    config = tiny.tiny_config(sampling=SAMPLING, **changes)
    steps, checkpoints = [], []
    train(
        policy,
        tiny.tiny_rows(),
        tiny.Counting(),
        config,
        new_state(policy, config),
        on_step=steps.append,
        on_checkpoint=checkpoints.append,
    )
    return config, steps, checkpoints


def digest(checkpoint):
    return hashlib.sha256(checkpoint.adapter + checkpoint.state).hexdigest()


def test_two_runs_give_the_same_bytes_and_so_does_a_resumed_one():
    config, steps, checkpoints = run()
    _, _, again = run()
    assert [digest(each) for each in checkpoints] == [digest(each) for each in again]
    assert all(step.values["sampler_gap_max"] < 1e-4 for step in steps)
    policy = tiny.tiny_policy(awake=False)
    state, resumed = resumed_state(policy, config, checkpoints[0]), []
    train(
        policy,
        tiny.tiny_rows(),
        tiny.Counting(),
        config,
        state,
        on_checkpoint=resumed.append,
    )
    assert digest(resumed[-1]) == digest(checkpoints[-1])


def test_dynamic_sampling_joins_conversations_of_several_rounds():
    class Picky(tiny.Counting):
        """Every row but those of the first reset scores alike."""

        def score(self, jobs):
            found = super().score(jobs)
            return [replace_score(score, 0.5) if job.group else score
                    for job, score in zip(jobs, found, strict=True)]  # fmt: skip

    def replace_score(score, value):
        return type(score)(score=value)

    policy = tiny.tiny_policy(awake=False)
    config = tiny.tiny_config(
        sampling=SAMPLING, steps=2, method=DapoMethod(mask_truncated=False, refills=2)
    )
    steps = []
    train(policy, tiny.tiny_rows(), Picky(), config, new_state(policy, config), steps.append)
    assert all(step.values["groups_filtered"] > 0 for step in steps)
    assert all(step.values["sampler_gap_max"] < 1e-4 for step in steps)
