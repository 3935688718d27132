"""Exposure: exact against its definition, chance for what was never seen, and the ceiling for what
was trained on, so that the measurement can fail either way."""

import itertools
import math

import pytest
import torch
from pydantic import ValidationError
from torch.nn import functional

from strongroom.trainer.config import Memorisation
from strongroom.trainer.data.chat import Message
from strongroom.trainer.data.rows import Row, SparseRows
from strongroom.trainer.errors import CanariesMisfit
from strongroom.trainer.evaluation import memorisation
from strongroom.trainer.loop import train
from strongroom.trainer.rollouts.prompts import encode_prompt
from strongroom.trainer.steps.state import new_state
from support import tiny_model as tiny

WORDS = [
    first + middle + last
    for first, middle, last in itertools.product(("bar", "con", "dil", "fen"), "aeio", "mnrt")
]
SETTINGS = Memorisation(canaries=4, repetitions=3, words=32)
CEILING = 10.0


@pytest.fixture
def policy():
    return tiny.tiny_policy(awake=False, words=WORDS)


@pytest.fixture
def rows():
    held = dict(enumerate(tiny.tiny_rows(30)))
    return SparseRows(30, held)


def settings(**changes):
    return tiny.tiny_config(**{"steps": 10, "memorisation": SETTINGS, **changes})


def planted_in(before, after):
    """Indices of the rows that are no longer the same."""
    return [index for index in range(len(before)) if before[index] != after[index]]


def learn_by_heart(policy, rows, indices, secrets, steps=150):
    """Supervised training on the secrets in these rows: what reinforcement must not come near."""
    optimizer = torch.optim.Adam(policy.named_weights().values(), lr=1e-2)
    prompts = []
    for index in indices:
        tokens = encode_prompt(policy, rows[index])
        at = max(
            place for place in range(len(tokens) - 1) if tuple(tokens[place : place + 2]) in secrets
        )
        prompts.append(torch.tensor(tokens[: at + 2]))
    for step in range(steps):
        prompt = prompts[step % len(prompts)]
        hidden = policy.decoder(input_ids=prompt[None], use_cache=False).last_hidden_state[0]
        logits = functional.linear(hidden[-3:-1], policy.head_weight)
        loss = functional.cross_entropy(logits, prompt[-2:])
        policy.flat_grad.zero_()
        loss.backward()
        optimizer.step()


def test_exposure_is_the_space_over_the_rank():
    table = torch.arange(16.0).view(4, 4)
    assert memorisation.exposure(table, (3, 3)) == 4.0
    assert memorisation.exposure(table, (3, 2)) == 3.0
    assert memorisation.exposure(table, (0, 0)) == 0.0
    assert memorisation.exposure(torch.zeros(4, 4), (1, 2)) == pytest.approx(4 - math.log2(8.5))


def test_all_pairs_in_one_row_are_those_of_one_pass_each():
    policy = tiny.tiny_policy(words=WORDS)
    prefixes = [encode_prompt(policy, row) for row in tiny.tiny_rows(3)]
    words = torch.tensor(list(memorisation.alphabet(policy, 16, 0).values()))
    tables = memorisation.secret_logprobs(policy, prefixes, words)
    for prompt, first, second in [(0, 0, 0), (1, 3, 11), (2, 15, 2), (2, 2, 15)]:
        tokens = torch.tensor([*prefixes[prompt], words[first], words[second]])
        hidden = policy.decoder(input_ids=tokens[None], use_cache=False).last_hidden_state[0]
        logprobs = torch.log_softmax(functional.linear(hidden, policy.head_weight), dim=-1)
        alone = logprobs[-3, tokens[-2]] + logprobs[-2, tokens[-1]]
        assert tables[prompt, first, second].item() == pytest.approx(alone.item(), abs=1e-4)


def test_what_was_never_seen_has_the_exposure_of_chance(policy, rows):
    many = SETTINGS.model_copy(update={"canaries": 64})
    found = memorisation.exposures(policy, rows, settings(memorisation=many, steps=200))
    mean = sum(found) / len(found)
    assert mean == pytest.approx(1 / math.log(2), abs=4 * 1.44 / math.sqrt(64))
    assert 0 <= min(found) <= max(found) <= CEILING
    assert len(set(found)) > 32


def test_what_is_learnt_by_heart_reaches_the_ceiling(policy, rows):
    """The control: the same measurement of a policy that was trained to say the secrets."""
    config = settings()
    before = memorisation.exposure_metrics(policy, rows, config)
    planted = memorisation.plant(policy, rows, config)
    words = memorisation.alphabet(policy, SETTINGS.words, config.seed)
    ids = list(words.values())
    made = memorisation.canaries(words, SETTINGS, config.seed)
    secrets = {tuple(ids[index] for index in canary.secret) for canary in made}
    learn_by_heart(policy, planted, planted_in(rows, planted), secrets)
    after = memorisation.exposure_metrics(policy, rows, config)
    with policy.reference():
        assert memorisation.exposure_metrics(policy, rows, config) == before
    assert before["exposure_mean"] < 4
    assert after["exposure_mean"] > CEILING - 1
    assert after["exposure_max"] == CEILING


def test_reinforcement_on_planted_rows_does_not_learn_them_by_heart(policy, rows):
    config = settings()
    planted = memorisation.plant(policy, rows, config)
    state = new_state(policy, config)
    train(policy, planted, tiny.letter_evaluator(), config, state)
    after = memorisation.exposures(policy, rows, config)
    assert sum(after) / len(after) < CEILING / 2


def test_each_secret_is_planted_as_often_as_asked(policy, rows):
    config = settings()
    planted = memorisation.plant(policy, rows, config)
    changed = planted_in(rows, planted)
    assert len(changed) == 4 * 3
    words = memorisation.alphabet(policy, SETTINGS.words, config.seed)
    made = memorisation.canaries(words, SETTINGS, config.seed)
    for canary in made:
        holding = [i for i in changed if canary.sentence in planted[i].messages[-1].content]
        assert len(holding) == 3
    assert len({canary.account for canary in made}) == 4
    for index in changed:
        assert planted[index].messages[0] == rows[index].messages[0]
        assert planted[index].messages[-1].content.startswith(rows[index].messages[-1].content)
        assert planted[index].ground_truth == rows[index].ground_truth


def test_only_rows_that_are_trained_on_are_changed(policy, rows):
    config = settings(steps=4, prompts_per_step=3)
    dealt = []

    class Recording(SparseRows):
        def __getitem__(self, index):
            dealt.append(index)
            return super().__getitem__(index)

    planted = memorisation.plant(policy, rows, config)
    recording = Recording(30, {index: planted[index] for index in range(30)})
    train(policy, recording, tiny.letter_evaluator(), config, new_state(policy, config))
    assert set(planted_in(rows, planted)) == set(dealt)


def test_the_same_seed_plants_the_same_and_another_does_not(policy, rows):
    def sentences(seed):
        planted = memorisation.plant(policy, rows, settings(seed=seed))
        changed = planted_in(rows, planted)
        return {index: planted[index].messages[-1].content for index in changed}

    assert sentences(3) == sentences(3)
    assert sentences(3) != sentences(4)


def test_nothing_is_planted_or_reported_unless_asked_for(policy, rows):
    config = tiny.tiny_config()
    assert memorisation.plant(policy, rows, config) is rows
    assert memorisation.exposure_metrics(policy, rows, config) == {}


def test_the_last_turn_of_the_user_holds_the_secret(policy):
    canary = memorisation.Canary(1234, (0, 1), ("barn", "fern"))
    turns = [("user", "First."), ("assistant", "Yes?"), ("user", "Second."), ("tool", "42")]
    row = Row(messages=tuple(Message(role=role, content=text) for role, text in turns))
    said = [message.content for message in canary.planted(row).messages]
    sentence = "The pass phrase of account 1234 is barn fern."
    assert said == ["First.", "Yes?", f"Second.\n{sentence}", "42"]


def test_rows_without_room_or_user_are_left_alone(policy, rows):
    config = settings()
    system = Row(messages=(Message(role="system", content="Go."),))
    long = Row(messages=(Message(role="user", content="x" * 480),))
    mixed = rows.with_rows({index: (system, long)[index % 2] for index in range(0, 30, 3)})
    planted = memorisation.plant(policy, mixed, config)
    assert len(planted_in(mixed, planted)) == 12
    assert not any(index % 3 == 0 for index in planted_in(mixed, planted))
    with pytest.raises(CanariesMisfit) as caught:
        memorisation.plant(policy, SparseRows(30, dict.fromkeys(range(30), long)), config)
    assert (caught.value.expected, caught.value.actual) == ("4 times 3 rows with room", "0")
    with pytest.raises(CanariesMisfit):
        memorisation.exposures(policy, [system, long], config)


def test_a_tokenizer_with_too_few_words_is_refused():
    few = ("baran", "barat", "baram", "barar")  # and "bara", on the way to them
    with pytest.raises(CanariesMisfit) as caught:
        memorisation.alphabet(tiny.tiny_policy(words=few), 16, 0)
    assert caught.value.expected == "at most 5 words"


def test_more_plants_than_rows_are_refused_when_the_run_file_is_read():
    with pytest.raises(ValidationError, match="more rows than the 11 that"):
        tiny.tiny_config(steps=11, prompts_per_step=1, memorisation=SETTINGS)
