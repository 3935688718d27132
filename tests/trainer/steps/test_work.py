"""What a step computes, counted: the work is as small as the design says, whatever the clock says.

Every call of the decoder is recorded with the positions it computes, and every tensor that the
backward pass keeps with its shape.
"""

from collections import Counter

import pytest
import torch
from msgspec.structs import replace

from strongroom.trainer.engines import build_engine
from strongroom.trainer.losses import build_objective
from strongroom.trainer.methods import GrpoMethod
from strongroom.trainer.rollouts.prompts import encode_prompt
from strongroom.trainer.rollouts.rollout import shared_prefix
from strongroom.trainer.steps.batch import pack_groups
from strongroom.trainer.steps.learning import Learner
from strongroom.trainer.steps.logprobs import HEAD_CHUNK, completion_logprobs
from strongroom.trainer.steps.state import new_state
from support import tiny_model as tiny

PROMPTS, SAMPLES, MAX_TOKENS = 3, 6, 8
REWARDS = [[1.0, 0.0, 0.5, 0.0, 1.0, 0.0], [0.5] * 6, [0.0, 2.0, 0.0, 1.0, 1.0, 0.0]]


@pytest.fixture
def policy():
    return tiny.tiny_policy()


@pytest.fixture
def prompts(policy):
    found = [encode_prompt(policy, row) for row in tiny.tiny_rows(PROMPTS)]
    assert shared_prefix(found) > 16
    return found


def sample(policy, prompts, temperature=1.0):
    engine = build_engine(tiny.tiny_config().engine, policy)
    generator = torch.Generator().manual_seed(0)
    return engine.generate(prompts, SAMPLES, MAX_TOKENS, temperature, generator)


def beginnings(rollouts, group, length):
    """The different ones of that many tokens, of completions that go on after them."""
    members = range(group * SAMPLES, (group + 1) * SAMPLES)
    return {
        tuple(rollouts.tokens_BT[member, :length].tolist())
        for member in members
        if rollouts.lengths_B[member] > length
    }


class Watch:
    """Positions that the decoder computes, call by call: (rows, positions a row)."""

    def __init__(self, policy):
        self.calls = []
        self._hook = policy.decoder.register_forward_pre_hook(self._heard, with_kwargs=True)

    def _heard(self, _module, _args, settings):
        self.calls.append(tuple(settings["input_ids"].shape))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._hook.remove()

    @property
    def positions(self):
        return sum(rows * width for rows, width in self.calls)


def test_a_prompt_is_computed_once_for_all_its_completions(policy, prompts):
    prefix = shared_prefix(prompts)
    widest = max(map(len, prompts)) - prefix
    with Watch(policy) as watch:
        rollouts = sample(policy, prompts)
    assert watch.calls[:2] == [(1, prefix), (PROMPTS, widest)]
    assert len(watch.calls) == 2 + int(rollouts.lengths_B.max()) - 1
    # The control: one prompt for each completion, as samplers do that share nothing.
    with Watch(policy) as apart:
        sample(policy, [prompt for prompt in prompts for _ in range(SAMPLES)])
    assert apart.positions > 2 * watch.positions


@pytest.mark.parametrize("temperature", [1.0, 0.1, 0.0])
def test_what_begins_alike_is_computed_once(policy, prompts, temperature):
    """A position for each beginning that goes on, when sampling and when learning."""
    with Watch(policy) as watch:
        rollouts = sample(policy, prompts, temperature)
    for length, (rows, width) in enumerate(watch.calls[2:], start=1):
        found = [len(beginnings(rollouts, group, length)) for group in range(PROMPTS)]
        assert width == max(found)
        assert rows <= PROMPTS
    widths = [width for _, width in watch.calls[2:]]
    assert (widths[0] > SAMPLES // 2) == (temperature == 1)
    assert (max(widths) > 1) == (temperature > 0)
    batch = pack_groups(rollouts, [0], torch.ones(PROMPTS, SAMPLES, dtype=torch.bool))
    inner = sum(len(beginnings(rollouts, 0, length)) for length in range(1, MAX_TOKENS))
    assert batch.ids_NS.shape == (1, len(prompts[0]) + inner)
    completions = [rollouts.tokens_BT[g, : rollouts.lengths_B[g]].tolist() for g in range(SAMPLES)]
    different = {tuple(each[: n + 1]) for each in completions for n in range(len(each))}
    assert len(batch.targets_U) == len(different)
    drawn = [token for tokens in completions for token in tokens]
    assert batch.targets_U[batch.distinct_K].tolist() == drawn


def learn(policy, rollouts, **settings):
    """The decoder's calls in the learning half of a step."""
    config = tiny.tiny_config(**settings)
    objective = build_objective(config.method, config.sampling.longest)
    sampled = tiny.scored(rollouts, REWARDS, objective)
    state = new_state(policy, config)
    with Watch(policy) as watch:
        Learner(policy, objective, config).learn(sampled, state)
    return watch.calls


def test_learning_takes_one_pass_over_each_useful_token(policy, prompts):
    rollouts = sample(policy, prompts)
    useful = [0, 2]
    prefix = shared_prefix([prompts[group] for group in useful])
    width = max(
        len(prompts[group])
        - prefix
        + sum(len(beginnings(rollouts, group, length)) for length in range(1, MAX_TOKENS))
        for group in useful
    )
    once = learn(policy, rollouts)
    assert len(once) == 2, "no pass for old log-probabilities, none for the group without gradient"
    assert once[0] == (1, prefix)
    assert once[1] == (len(useful), width)
    # A reference costs a second pass, over all groups; further updates one each.
    penalised = learn(tiny.tiny_policy(), rollouts, method=GrpoMethod(kl=0.1))
    assert [rows for rows, _ in penalised] == [1, PROMPTS, 1, PROMPTS]
    twice = learn(tiny.tiny_policy(), rollouts, updates_per_step=2)
    assert twice == once * 2


def test_passes_hold_groups_of_similar_length(policy, prompts):
    """The long groups in one pass, the short ones in another, in whatever order they were drawn."""
    long, short = [[*prompts[0], *range(40, 40 + 3 * n)] for n in (20, 21)], prompts[1:]
    mixed = [long[0], short[0], long[1], short[1]]
    rollouts = sample(policy, mixed)
    config = tiny.tiny_config(groups_per_pass=2)
    objective = build_objective(config.method, config.sampling.longest)
    counted_PG = torch.ones(4, SAMPLES, dtype=torch.bool)
    sampled = tiny.scored(rollouts, counted_PG, objective)
    passes = Learner(policy, objective, config)._passes(
        sampled, torch.ones(4, dtype=torch.bool), counted_PG
    )
    groups = [{int(member) // SAMPLES for member in each.batch.members_C} for each in passes]
    assert groups == [{1, 3}, {0, 2}]


def kept(policy, batch):
    """Sizes of what the backward pass keeps, and how often."""
    sizes = Counter()

    def note(tensor):
        sizes[tuple(tensor.shape)] += 1
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        completion_logprobs(policy, batch, 1.0)
    return sizes


def test_no_logits_are_kept_for_the_backward_pass(policy, prompts):
    rollouts = sample(policy, prompts)
    every = torch.ones(PROMPTS, SAMPLES, dtype=torch.bool)
    batch = pack_groups(rollouts, range(PROMPTS), every)
    tokens, vocabulary = len(batch.targets_U), policy.head_weight.shape[0]
    assert tokens not in policy.head_weight.shape
    with_logits = {shape for shape in kept(policy, batch) if tokens in shape}
    assert (tokens, policy.head_weight.shape[1]) in with_logits, "what is kept in their stead"
    assert not any(vocabulary in shape for shape in with_logits)

    class Whole:
        """The control: the same head, written plainly."""

        @staticmethod
        def apply(hidden_UD, head_VD, targets_U, temperature):
            logp = torch.log_softmax(hidden_UD @ head_VD.T / temperature, dim=-1)
            return logp.gather(1, targets_U[:, None]).squeeze(1), logp.detach().sum(-1)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("strongroom.trainer.steps.logprobs.TargetLogprobs", Whole)
        assert (tokens, vocabulary) in kept(policy, batch)


def test_the_head_sees_completion_tokens_only_and_a_chunk_at_a_time(policy, prompts, monkeypatch):
    rollouts = sample(policy, prompts)
    every = torch.ones(PROMPTS, SAMPLES, dtype=torch.bool)
    batch = pack_groups(rollouts, range(PROMPTS), every)
    names = ("source_U", "targets_U")
    more = replace(batch, **{name: getattr(batch, name).repeat(4) for name in names})
    tokens = len(more.targets_U)
    assert HEAD_CHUNK < tokens < 2 * HEAD_CHUNK
    seen, linear = [], torch.nn.functional.linear

    def watched(hidden, weight, bias=None):
        if weight is policy.head_weight:
            seen.append(len(hidden))
        return linear(hidden, weight, bias)

    monkeypatch.setattr("strongroom.trainer.steps.logprobs.functional.linear", watched)
    completion_logprobs(policy, more, 1.0)
    assert seen == [HEAD_CHUNK, tokens - HEAD_CHUNK]
