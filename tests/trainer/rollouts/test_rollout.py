import pytest
import torch

from strongroom.trainer.config import Sampling
from strongroom.trainer.data.chat import FaultCode, Message, RecordFault
from strongroom.trainer.data.rows import Row
from strongroom.trainer.engines import build_engine, hf
from strongroom.trainer.engines.drawing import draw
from strongroom.trainer.rollouts.prompts import check_prompt, encode_prompt
from strongroom.trainer.rollouts.rollout import shared_prefix
from support import tiny_model as tiny


def sample(policy, prompts, *, samples=3, max_tokens=6, temperature=1.0, seed=0, config):
    generator = torch.Generator().manual_seed(seed)
    engine = build_engine(config.engine, policy)
    return engine.generate(prompts, samples, max_tokens, temperature, generator)


@pytest.fixture
def policy():
    return tiny.tiny_policy()


@pytest.fixture
def prompts(policy):
    return [encode_prompt(policy, row) for row in tiny.tiny_rows(4)]


def test_shared_prefix_leaves_a_token_of_each_prompt():
    assert shared_prefix([[1, 2, 3], [1, 2, 4, 5]]) == 2
    assert shared_prefix([[1, 2], [1, 2, 4]]) == 1
    assert shared_prefix([[7], [7]]) == 0
    assert shared_prefix([[1, 2, 3]]) == 2


def test_prompts_really_share_a_prefix_and_differ_in_length(prompts):
    assert shared_prefix(prompts) > 16
    assert len({len(prompt) for prompt in prompts}) > 1


def test_greedy_completions_are_those_of_transformers(policy, prompts):
    rollouts = sample(policy, prompts, samples=1, temperature=0.0, config=tiny.tiny_config())
    for row, prompt in enumerate(prompts):
        expected = policy.base.model.generate(
            torch.tensor([prompt]), max_new_tokens=6, do_sample=False, pad_token_id=0
        )[0, len(prompt) :]
        length = int(rollouts.lengths_B[row])
        assert rollouts.tokens_BT[row, :length].tolist() == expected.tolist()


def test_same_generator_same_tokens_and_other_seed_other_tokens(policy, prompts):
    config = tiny.tiny_config()
    first = sample(policy, prompts, config=config)
    again = sample(policy, prompts, config=config)
    other = sample(policy, prompts, seed=1, config=config)
    assert torch.equal(first.tokens_BT, again.tokens_BT)
    assert torch.equal(first.logprobs_BT, again.logprobs_BT)
    assert not torch.equal(first.tokens_BT[:, :1], other.tokens_BT[:, :1])


def test_global_randomness_is_neither_read_nor_changed(policy, prompts):
    torch.manual_seed(1)
    before = torch.get_rng_state()
    first = sample(policy, prompts, config=tiny.tiny_config())
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(2)
    assert torch.equal(
        first.tokens_BT, sample(policy, prompts, config=tiny.tiny_config()).tokens_BT
    )


def test_sampled_tokens_follow_the_distribution(policy, prompts):
    rollouts = sample(policy, prompts[:1], samples=4000, max_tokens=1, config=tiny.tiny_config())
    logits = policy.base.model(torch.tensor([prompts[0]])).logits[0, -1]
    expected = torch.softmax(logits.detach(), dim=0)
    drawn = torch.bincount(rollouts.tokens_BT[:, 0], minlength=len(expected)) / 4000
    assert (drawn - expected).abs().sum() < 0.35
    assert torch.equal(drawn.argmax(), expected.argmax())


def test_completions_stop_at_the_end_token(policy, prompts):
    rollouts = sample(policy, prompts, samples=8, max_tokens=12, config=tiny.tiny_config())
    assert rollouts.finished_B.any()
    assert not rollouts.finished_B.all()
    for tokens, length, finished in zip(
        rollouts.tokens_BT, rollouts.lengths_B, rollouts.finished_B, strict=True
    ):
        drawn = tokens[:length].tolist()
        assert (drawn[-1] in tiny.END_TOKENS) == bool(finished)
        assert not set(drawn[:-1]) & set(tiny.END_TOKENS)
    assert not any(set(text) & set("!?0123456789") for text in rollouts.texts)


def one_by_one(policy, prompts, samples, max_tokens, temperature):
    """The same draws with nothing shared: a whole forward pass for each token."""
    generator = torch.Generator().manual_seed(0)
    found = [(list(prompt), []) for prompt in prompts for _ in range(samples)]
    ends = set(policy.base.end_tokens)
    for _ in range(max_tokens):
        random_B = torch.zeros(len(found), dtype=torch.float64).uniform_(generator=generator)
        for index, (tokens, logprobs) in enumerate(found):
            if logprobs and tokens[-1] in ends:
                continue
            with torch.no_grad():
                logits = policy.base.model(torch.tensor([tokens])).logits[:, -1].float()
            token_B, logprob_B = draw(logits, temperature, random_B[index : index + 1])
            tokens.append(int(token_B))
            logprobs.append(float(logprob_B))
    return [(tokens[-len(logprobs) :], logprobs) for tokens, logprobs in found]


@pytest.mark.parametrize(
    ("samples", "max_tokens", "temperature"),
    [
        pytest.param(8, 20, 1.0, id="side by side in one row"),
        pytest.param(8, 20, 0.1, id="many begin alike"),
        pytest.param(8, 48, 0.1, id="alike, and a row each"),
        pytest.param(2, 20, 1.0, id="side by side, and whole rows finish"),
        pytest.param(2, 48, 1.0, id="longer than the prompts: a row each"),
        pytest.param(1, 20, 1.0, id="one"),
    ],
)
def test_each_completion_is_the_one_drawn_alone(
    policy, prompts, samples, max_tokens, temperature, monkeypatch
):
    """Whatever they share, whoever finishes first, and whichever rows have left the cache."""
    left = []
    keep = hf._GrowingLayer.keep
    monkeypatch.setattr(
        hf._GrowingLayer, "keep", lambda layer, rows_R: (left.append(rows_R), keep(layer, rows_R))
    )
    rollouts = sample(
        policy,
        prompts,
        samples=samples,
        max_tokens=max_tokens,
        temperature=temperature,
        config=tiny.tiny_config(),
    )
    expected = one_by_one(policy, prompts, samples, max_tokens, temperature)
    begun = {(row // samples, *tokens[:2]) for row, (tokens, _) in enumerate(expected)}
    assert temperature == 1 or len(begun) < len(expected) // 2, "too few begin alike"
    for row, (tokens, logprobs) in enumerate(expected):
        length = int(rollouts.lengths_B[row])
        assert rollouts.tokens_BT[row, :length].tolist() == tokens
        drawn = rollouts.logprobs_BT[row, :length]
        torch.testing.assert_close(drawn, torch.tensor(logprobs), rtol=0, atol=1e-4)
    assert samples == 8 or left, "no row left the cache"


def test_a_changed_adapter_changes_the_next_samples(policy, prompts):
    config = tiny.tiny_config()
    engine = build_engine(config.engine, policy)

    def draw():
        return engine.generate(prompts, 4, 6, 1.0, torch.Generator().manual_seed(0)).tokens_BT

    before = draw()
    policy.flat.mul_(2)
    changed = draw()
    policy.flat.div_(2)
    assert not torch.equal(before[:, :1], changed[:, :1])
    assert torch.equal(draw(), before)


def test_prompt_length_is_a_fault_before_training(policy):
    row = tiny.tiny_rows(1)[0]
    tokens = len(encode_prompt(policy, row))

    def check(max_prompt_tokens, max_tokens):
        sampling = Sampling(max_tokens=max_tokens)
        config = tiny.tiny_config(max_prompt_tokens=max_prompt_tokens, sampling=sampling)
        check_prompt(policy, row, config)

    check(tokens, 512 - tokens)
    with pytest.raises(RecordFault, match=FaultCode.PROMPT_TOO_LONG):
        check(tokens - 1, 10)
    with pytest.raises(RecordFault, match=FaultCode.PROMPT_TOO_LONG):
        check(tokens, 513 - tokens)


def test_a_template_that_refuses_is_a_fault(policy):
    policy.base.tokenizer.chat_template = "{{ raise_exception('roles must alternate') }}"
    with pytest.raises(RecordFault, match=FaultCode.TEMPLATE_REFUSED):
        encode_prompt(policy, Row(messages=(Message(role="user", content="x"),)))
