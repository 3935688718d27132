"""However completions are laid out for the trainer, their log-probabilities are the same."""

import hashlib

import pytest
import torch
from msgspec.structs import replace

from strongroom.trainer.engines import build_engine
from strongroom.trainer.rollouts.prompts import encode_prompt
from strongroom.trainer.steps.batch import pack_groups
from strongroom.trainer.steps.logprobs import completion_logprobs
from support import tiny_model as tiny


@pytest.fixture
def policy():
    return tiny.tiny_policy()


def sample(policy, temperature):
    prompts = [encode_prompt(policy, row) for row in tiny.tiny_rows(4)]
    engine = build_engine(tiny.tiny_config().engine, policy)
    return engine.generate(prompts, 5, 12, temperature, torch.Generator().manual_seed(0))


@pytest.fixture
def rollouts(policy):
    return sample(policy, 0.8)


def pack(rollouts, groups):
    """All completions of the groups."""
    return pack_groups(rollouts, groups, torch.ones(len(rollouts.prompts), 5, dtype=torch.bool))


def separately(policy, rollouts, groups, temperature):
    """Every completion in a forward pass of its own, with the model's own causal mask."""
    logprobs = []
    for group in groups:
        prompt = rollouts.prompts[group]
        for member in range(group * rollouts.samples, (group + 1) * rollouts.samples):
            drawn = rollouts.tokens_BT[member, : rollouts.lengths_B[member]]
            ids = torch.cat([torch.tensor(prompt), drawn])
            logits = policy.base.model(ids[None]).logits[0, len(prompt) - 1 : -1] / temperature
            logprobs.append(torch.log_softmax(logits, -1).gather(1, drawn[:, None]).squeeze(1))
    return torch.cat(logprobs)


def gradient(policy, logprobs):
    policy.flat_grad.zero_()
    weights = torch.linspace(-1, 1, len(logprobs))
    (logprobs * weights).sum().backward()
    return policy.flat_grad.clone()


@pytest.mark.parametrize("groups", [[0], [2], [0, 1, 2, 3], [1, 3]])
def test_shared_rows_equal_separate_passes(policy, rollouts, groups):
    batch = pack(rollouts, groups)
    assert (len(batch.prefix_F) > 16) == (len(groups) > 1)
    shared, _ = completion_logprobs(policy, batch, 0.8)
    shared_gradient = gradient(policy, shared)
    apart = separately(policy, rollouts, groups, 0.8)
    torch.testing.assert_close(shared, apart, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(shared_gradient, gradient(policy, apart), rtol=1e-4, atol=1e-5)


def test_completions_that_begin_alike_equal_separate_passes(policy):
    """Each counts as often as it was drawn, though what they share is computed once."""
    rollouts = sample(policy, 0.1)
    batch = pack(rollouts, [0, 1, 2, 3])
    assert 3 * len(batch.targets_U) < 2 * len(batch.distinct_K)
    shared, _ = completion_logprobs(policy, batch, 0.8)
    shared_gradient = gradient(policy, shared)
    apart = separately(policy, rollouts, [0, 1, 2, 3], 0.8)
    torch.testing.assert_close(shared, apart, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(shared_gradient, gradient(policy, apart), rtol=1e-4, atol=1e-5)


def test_groups_together_equal_groups_one_by_one(policy, rollouts):
    together, _ = completion_logprobs(policy, pack(rollouts, [0, 1, 2, 3]), 0.8)
    alone = [completion_logprobs(policy, pack(rollouts, [g]), 0.8)[0] for g in range(4)]
    torch.testing.assert_close(together, torch.cat(alone), rtol=1e-5, atol=1e-5)


def gradients(policy, batch, times):
    """The bits of the gradient, each time it is computed anew."""
    found = []
    for _ in range(times):
        bits = gradient(policy, completion_logprobs(policy, batch, 0.8)[0]).numpy().tobytes()
        found.append(hashlib.sha256(bits).hexdigest())
        if found[-1] != found[0]:
            break
    return set(found)


def test_two_threads_give_one_gradient(policy):
    """Many completions of one prompt: all of their first tokens have the same hidden state."""
    prompts = [encode_prompt(policy, tiny.tiny_rows(1)[0])]
    engine = build_engine(tiny.tiny_config().engine, policy)
    many = engine.generate(prompts, 160, 12, 0.8, torch.Generator().manual_seed(0))
    batch = pack_groups(many, [0], torch.ones(1, 160, dtype=torch.bool))
    assert len(batch.source_U) > 1024, "enough for two threads"
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        assert len(gradients(policy, batch, 40)) == 1
        torch.use_deterministic_algorithms(False)
        assert len(gradients(policy, batch, 400)) > 1, "the control: it would show"
    finally:
        torch.use_deterministic_algorithms(True)
        torch.set_num_threads(threads)


def test_completions_that_do_not_count_change_nothing(policy, rollouts):
    keep_PG = torch.ones(4, 5, dtype=torch.bool)
    keep_PG[0, 1] = keep_PG[2, :4] = False
    some = pack_groups(rollouts, [0, 2, 3], keep_PG)
    every = pack(rollouts, [0, 2, 3])
    assert some.members_C.tolist() == [0, 2, 3, 4, 14, 15, 16, 17, 18, 19]
    kept_K = torch.isin(every.members_C, some.members_C)[every.completion_K]
    chosen_K = every.targets_U[every.distinct_K][kept_K]
    assert torch.equal(some.targets_U[some.distinct_K], chosen_K)
    found, _ = completion_logprobs(policy, some, 0.8)
    wanted, _ = completion_logprobs(policy, every, 0.8)
    torch.testing.assert_close(found, wanted[kept_K], rtol=1e-5, atol=1e-5)


def test_sampler_and_trainer_agree(policy, rollouts):
    batch = pack(rollouts, [0, 1, 2, 3])
    logprobs, _ = completion_logprobs(policy, batch, 0.8)
    assert (logprobs - batch.sampler_logprobs_K).abs().max() < 1e-4


def test_the_check_on_sampler_and_trainer_sees_a_wrong_mask(policy, rollouts):
    """The control: let completions see their siblings and the two disagree."""
    batch = pack(rollouts, [0, 1, 2, 3])
    causal = torch.ones_like(batch.visible_NSL).tril(diagonal=len(batch.prefix_F))
    logprobs, _ = completion_logprobs(policy, replace(batch, visible_NSL=causal), 0.8)
    assert (logprobs - batch.sampler_logprobs_K).abs().max() > 1e-2


def test_a_stale_adapter_is_seen_too(policy, rollouts):
    policy.flat.mul_(1.1)
    batch = pack(rollouts, [0, 1, 2, 3])
    logprobs, _ = completion_logprobs(policy, batch, 0.8)
    assert (logprobs - batch.sampler_logprobs_K).abs().max() > 1e-2


def test_what_is_masked_changes_nothing(policy, rollouts):
    """Other padding, in the batch and after the end of completions: the same bits."""
    batch = pack(rollouts, [0, 1, 2, 3])
    before, _ = completion_logprobs(policy, batch, 0.8)
    before_gradient = gradient(policy, before)
    read = batch.visible_NSL[:, :, len(batch.prefix_F) :].sum(dim=1) > 1
    padding = ~read & (batch.positions_NS == 0)
    assert padding.any()
    tokens_BT = rollouts.tokens_BT.clone()
    after_end = torch.arange(tokens_BT.shape[1]) >= rollouts.lengths_B[:, None]
    assert after_end.any()
    tokens_BT[after_end] = 77
    other = pack(replace(rollouts, tokens_BT=tokens_BT), [0, 1, 2, 3])
    other = replace(other, ids_NS=other.ids_NS.masked_fill(padding, 99))
    after, _ = completion_logprobs(policy, other, 0.8)
    assert torch.equal(before, after)
    assert torch.equal(before_gradient, gradient(policy, after))
