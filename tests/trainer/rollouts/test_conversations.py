"""Conversations of several turns: what the model sees, what counts as sampled, when they end."""

import pytest
import tokenizers
import torch

from strongroom.trainer.config import Sampling
from strongroom.trainer.data.chat import FaultCode, Message, RecordFault
from strongroom.trainer.engines import build_engine
from strongroom.trainer.errors import ConversationFailed, EnvironmentMisbehaved
from strongroom.trainer.evaluation.held_out import evaluate
from strongroom.trainer.rollouts.conversations import Conversations
from strongroom.trainer.rollouts.evaluators import Turn
from strongroom.trainer.rollouts.prompts import check_prompt, encode_prompt
from strongroom.trainer.rollouts.rollout import Rollouts
from strongroom.trainer.rollouts.scoring import score_rollouts, scored_rollouts
from support import tiny_model as tiny

FORGETFUL = (
    "{% for message in messages[-1:] %}<s>{{ message['role'] }} {{ message['content'] }}</s>"
    "{% endfor %}{% if add_generation_prompt %}<s>assistant {% endif %}"
)
"""Writes the last message alone."""


class Watched:
    """An engine that remembers what it was asked and what it drew."""

    def __init__(self, engine):
        self.engine, self.asked, self.drawn = engine, [], []

    def generate(self, prompts, *settings):
        self.asked.append([list(prompt) for prompt in prompts])
        self.drawn.append(self.engine.generate(prompts, *settings))
        return self.drawn[-1]


@pytest.fixture
def policy():
    return tiny.tiny_policy()


def talk(policy, environment, rows=3, samples=4, **sampling):
    """Conversations with ``rows`` rows, the engine that sampled them, and their rows."""
    config = tiny.tiny_config(sampling=Sampling(**{"max_tokens": 8, "max_turns": 3} | sampling))
    engine = Watched(build_engine(config.engine, policy))
    conversations = Conversations(policy, engine, environment, config)
    generator = torch.Generator().manual_seed(0)
    begun, rollouts = conversations.hold(range(rows), tiny.tiny_rows(rows), samples, 1.0, generator)
    return rollouts, engine, begun


def tokens(rollouts, b, given):
    """The given or the sampled tokens of a conversation."""
    size = rollouts.sizes_B[b]
    kept = rollouts.given_BT[b, :size] == given
    return rollouts.tokens_BT[b, :size][kept].tolist()


def test_what_was_sampled_is_never_encoded_again(policy):
    rollouts, engine, _ = talk(policy, tiny.Counting())
    assert len(engine.asked) == 3
    context = {b: list(rollouts.prompts[b // 4]) for b in range(12)}
    sampled = {b: [] for b in range(12)}
    going = list(range(12))
    engine.asked[0] = [prompt for prompt in engine.asked[0] for _ in range(4)]
    for asked, drawn in zip(engine.asked, engine.drawn, strict=True):
        # Who goes on is told by what it is asked, since that begins with all there was.
        going = [b for b in going if any(a[: len(context[b])] == context[b] for a in asked)]
        assert len(going) == len(asked)
        for place, b in enumerate(going):
            length = int(drawn.lengths_B[place])
            new = drawn.tokens_BT[place, :length].tolist()
            assert asked[place][: len(context[b])] == context[b]
            context[b] = asked[place] + new
            sampled[b] += new
    for b in range(12):
        whole = rollouts.tokens_BT[b, : rollouts.sizes_B[b]].tolist()
        assert list(rollouts.prompts[b // 4]) + whole == context[b]
        assert tokens(rollouts, b, given=False) == sampled[b]
        assert rollouts.lengths_B[b] == len(sampled[b])
    assert (rollouts.given_BT.sum(dim=1) > 0).sum() > 3


def test_what_was_given_is_what_the_template_writes(policy):
    rollouts, _, _ = talk(policy, tiny.Counting(turns=2), max_turns=2)
    decode = policy.base.tokenizer.decode
    told_in_all = 0
    for b, (said, text) in enumerate(zip(rollouts.between, rollouts.texts, strict=True)):
        whole = decode(rollouts.tokens_BT[b, : rollouts.sizes_B[b]].tolist())
        if not said:
            assert not tokens(rollouts, b, given=True)
            continue
        answer, told = said
        written = decode(tokens(rollouts, b, given=True))
        assert told == Message(role="tool", content=f"That was {len(answer.content)}.")
        assert written.removeprefix("</s>") == f"<s>tool {told.content}</s><s>assistant "
        assert whole.startswith(answer.content)
        assert text in whole
        told_in_all += 1
    assert told_in_all > 3


class Scripted:
    """An engine that always draws ``mn`` and one end token."""

    def __init__(self, end):
        self.end = end

    def generate(self, prompts, samples, *_):
        count = len(prompts) * samples
        return Rollouts(
            prompts=tuple(map(tuple, prompts)),
            tokens_BT=torch.tensor([[80, 81, self.end]] * count),
            logprobs_BT=torch.zeros(count, 3),
            lengths_B=torch.full((count,), 3),
            finished_B=torch.ones(count, dtype=torch.bool),
            texts=("mn",) * count,
        )


@pytest.mark.parametrize(("end", "written"), [(2, []), (5, [2])])
def test_the_template_s_end_is_written_unless_it_was_sampled(policy, end, written):
    config = tiny.tiny_config(sampling=Sampling(max_tokens=8, max_turns=2))
    conversations = Conversations(policy, Scripted(end), tiny.Counting(), config)
    _, rollouts = conversations.hold([0], tiny.tiny_rows(1), 1, 1.0, None)
    turn = policy.base.tokenizer.encode("<s>tool That was 2.</s><s>assistant ")
    assert rollouts.tokens_BT[0].tolist() == [80, 81, end, *written, *turn, 80, 81, end]


def test_conversations_end_when_they_are_done_or_cut_off(policy):
    environment = tiny.Counting(turns=2)
    rollouts, engine, _ = talk(policy, environment, max_turns=5)
    assert len(engine.asked) == 2
    for b in range(12):
        first_finished = bool(engine.drawn[0].finished_B[b])
        assert len(environment.heard[b]) == (2 if first_finished else 1)
        assert bool(rollouts.between[b]) == first_finished


def test_no_more_turns_than_the_run_allows(policy):
    environment = tiny.Counting(turns=99)
    _, engine, _ = talk(policy, environment, max_turns=3)
    assert len(engine.asked) == 3
    assert max(len(heard) for heard in environment.heard.values()) == 3


def test_a_conversation_ends_before_it_outgrows_its_room(policy):
    room = 110
    rollouts, engine, _ = talk(
        policy, tiny.Counting(turns=99), max_turns=20, max_context_tokens=room
    )
    sizes = [len(rollouts.prompts[b // 4]) + int(rollouts.sizes_B[b]) for b in range(12)]
    assert max(sizes) <= room
    assert all(len(prompt) + 8 <= room for asked in engine.asked for prompt in asked)
    wider, _, _ = talk(policy, tiny.Counting(turns=99), max_turns=20, max_context_tokens=300)
    assert int(wider.sizes_B.max()) > int(rollouts.sizes_B.max())


def test_one_turn_is_what_the_engine_draws(policy):
    """Bit for bit, without an environment and with the generator where it was."""
    config = tiny.tiny_config()
    rows = tiny.tiny_rows(3)
    engine = build_engine(config.engine, policy)
    generators = [torch.Generator().manual_seed(1) for _ in range(2)]
    alone = engine.generate([encode_prompt(policy, row) for row in rows], 4, 8, 1.0, generators[0])
    held = Conversations(policy, engine, tiny.letter_evaluator(), config)
    begun, rollouts = held.hold(range(3), rows, 4, 1.0, generators[1])
    assert begun == rows
    assert rollouts.given_BT is None
    assert torch.equal(rollouts.tokens_BT, alone.tokens_BT)
    assert torch.equal(rollouts.logprobs_BT, alone.logprobs_BT)
    assert torch.equal(rollouts.sizes_B, alone.lengths_B)
    assert torch.equal(*(generator.get_state() for generator in generators))


def test_evaluators_and_viewers_get_the_whole_conversation(policy):
    environment = tiny.Counting()
    rollouts, _, begun = talk(policy, environment)
    jobs = []

    class Listening:
        def score(self, asked):
            jobs.extend(asked)
            return environment.score(asked)

    scores = score_rollouts(Listening(), range(len(begun)), begun, rollouts)
    seen = scored_rollouts(1, [0, 1, 2], begun, rollouts, scores)
    for b, job in enumerate(jobs):
        said = [m["content"] for m in job.messages if m["role"] == "assistant"]
        assert job.episode == b
        assert said == environment.heard[b]
        assert job.messages[-1] == {"role": "assistant", "content": rollouts.texts[b]}
        assert [*seen[b].messages, job.messages[-1]] == job.messages
        assert seen[b].tokens == rollouts.lengths_B[b]
        assert seen[b].messages[: -seen[b].said or None] == begun[b // 4].chat()


def test_an_environment_hears_of_which_row_it_is_about(policy):
    class Noting(tiny.Counting):
        def reset(self, jobs):
            self.rows = {job.episode: job.row for job in jobs}
            return super().reset(jobs)

        def step(self, replies):
            assert all(reply.row == self.rows[reply.episode] for reply in replies)
            return super().step(replies)

    environment = Noting()
    talk(policy, environment)
    assert list(environment.rows.values()) == [b // 4 for b in range(12)]


def test_evaluation_has_conversations_too(policy):
    environment = tiny.Counting()
    sampling = Sampling(max_tokens=8, max_turns=3)
    found = evaluate(policy, tiny.tiny_rows(5), environment, tiny.tiny_config(sampling=sampling))
    assert found.rows == 5
    again = evaluate(policy, tiny.tiny_rows(5), environment, tiny.tiny_config(sampling=sampling))
    assert again == found


class Opening(dict):
    """An environment that begins each conversation with what it holds for that conversation."""

    def reset(self, jobs):
        return [self.get(job.episode, self.get("all")) for job in jobs]

    def step(self, replies):
        return [Turn(messages=(), done=True) for _ in replies]

    def score(self, jobs):
        return []


def test_an_environment_may_begin_the_chat(policy):
    opening = (Message(role="user", content="Begin."),)
    _, engine, begun = talk(policy, Opening(all=opening))
    assert [row.messages for row in begun] == [opening] * 3
    assert [row.ground_truth for row in begun] == [0, 1, 2]
    written = "<s>user Begin.</s><s>assistant "
    assert all(policy.base.tokenizer.decode(prompt) == written for prompt in engine.asked[0])


def test_one_row_begins_in_one_way(policy):
    opening = (Message(role="user", content="Begin."),)
    talk(policy, Opening(dict.fromkeys(range(4), opening)))
    with pytest.raises(EnvironmentMisbehaved):
        talk(policy, Opening({2: opening}))


def test_a_beginning_must_fit(policy):
    opening = (Message(role="user", content="long " * 300),)
    with pytest.raises(ConversationFailed, match="prompt_too_long"):
        talk(policy, Opening(all=opening))


def test_an_environment_must_answer_all(policy):
    class Silent(tiny.Counting):
        def step(self, replies):
            return super().step(replies)[1:]

    with pytest.raises(EnvironmentMisbehaved):
        talk(policy, Silent())
    with pytest.raises(EnvironmentMisbehaved):
        talk(policy, tiny.letter_evaluator())


def test_a_template_that_rewrites_earlier_turns_is_a_fault_of_every_row(policy):
    several = tiny.tiny_config(sampling=Sampling(max_tokens=8, max_turns=2))
    row = tiny.tiny_rows(1)[0]
    check_prompt(policy, row, several)
    policy.base.tokenizer.chat_template = FORGETFUL
    check_prompt(policy, row, tiny.tiny_config())
    with pytest.raises(RecordFault, match=FaultCode.TEMPLATE_REWRITES):
        check_prompt(policy, row, several)
    with pytest.raises(ConversationFailed, match="template_rewrites"):
        talk(policy, tiny.Counting())


def test_a_tokenizer_that_writes_turns_otherwise_in_the_whole_is_a_fault(policy):
    """The byte tokenizer, told to put a blank before whatever begins a text."""
    several = tiny.tiny_config(sampling=Sampling(max_tokens=8, max_turns=2))
    row = tiny.tiny_rows(1)[0]
    policy.base.tokenizer.chat_template = (
        "{% for message in messages %}{{ message['role'] }}: {{ message['content'] }}|{% endfor %}"
        "{% if add_generation_prompt %}assistant: {% endif %}"
    )
    check_prompt(policy, row, several)
    policy.base.tokenizer.backend_tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(
        add_prefix_space=True
    )
    with pytest.raises(RecordFault, match=FaultCode.TEMPLATE_REWRITES):
        check_prompt(policy, row, several)


def test_a_role_that_the_template_refuses_is_told(policy):
    policy.base.tokenizer.chat_template = (
        "{% for message in messages %}{% if message['role'] == 'tool' %}"
        "{{ raise_exception('no tools') }}{% endif %}{{ message['content'] }}</s>{% endfor %}"
    )
    with pytest.raises(ConversationFailed, match="template_refused"):
        talk(policy, tiny.Counting())
