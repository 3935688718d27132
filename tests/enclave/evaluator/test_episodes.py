"""Conversations with a customer's environment, in the confined process."""

from __future__ import annotations

import pytest

from strongroom.enclave import errors
from strongroom.enclave.evaluator.messages import MAX_TURN_BYTES
from strongroom.enclave.evaluator.process import EvaluatorProcess
from strongroom.trainer.data.chat import Message
from strongroom.trainer.rollouts.evaluators import Job, Reply, Score, Turn

CANARY = "canary-in-a-row"
COUNTING = """
class Environment:
    def reset(self, messages, ground_truth, **row):
        self.goal, self.replies = ground_truth, []

    def step(self, completion):
        self.replies.append(completion)
        done = completion == self.goal
        return {
            "messages": [{"role": "tool", "name": "log", "content": f"{len(self.replies)}"}],
            "done": done,
            "reward": 1.0 if done else -0.25,
            "tries": len(self.replies),
        }
"""


@pytest.fixture
def process():
    """A confined evaluator process, without anything loaded."""
    with EvaluatorProcess.start() as started:
        yield started


def jobs(*truths: object) -> list[Job]:
    return [
        Job(
            messages=[{"role": "user", "content": CANARY}],
            ground_truth=truth,
            row=10 + number,
            episode=number,
        )
        for number, truth in enumerate(truths)
    ]


def replies(**texts: str) -> list[Reply]:
    """Replies by conversation: ``replies(_0="a", _2="b")``."""
    return [
        Reply(episode=int(number[1:]), text=text, row=10 + int(number[1:]))
        for number, text in texts.items()
    ]


def environment(step: str, reset: str = "return None", more: str = "") -> bytes:
    return (
        f"{more}\nclass Environment:\n"
        f"    def reset(self, messages, ground_truth, **row):\n        {reset}\n"
        f"    def step(self, completion):\n        {step}\n"
    ).encode()


def test_each_conversation_has_an_environment_of_its_own(process):
    process.load(COUNTING.encode(), ["tries"], environment=True)
    begun = jobs("a", "b", "c")
    assert process.reset(begun) == [None] * 3
    said = [Turn(messages=(Message(role="tool", name="log", content="1"),), done=False)] * 2
    over = Turn(messages=(), done=True)
    assert process.step(replies(_0="x", _1="b", _2="b")) == [said[0], over, said[1]]
    assert process.step(replies(_2="c", _0="y"))[0] == over
    assert process.score(begun) == [
        Score(score=-0.5, metrics={"tries": 2.0}),
        Score(score=1.0, metrics={"tries": 1.0}),
        Score(score=0.75, metrics={"tries": 2.0}),
    ]


def test_a_reset_begins_anew(process):
    process.load(COUNTING.encode(), ["tries"], environment=True)
    for _ in range(2):
        process.reset(jobs("a"))
        process.step(replies(_0="a"))
        assert process.score(jobs("a")) == [Score(score=1.0, metrics={"tries": 1.0})]


def test_an_environment_may_begin_the_chat(process):
    opening = "return [{'role': 'user', 'content': f'Find {ground_truth}.'}]"
    process.load(environment("return {'done': True}", opening), environment=True)
    assert process.reset(jobs("a", 7)) == [
        (Message(role="user", content="Find a."),),
        (Message(role="user", content="Find 7."),),
    ]


def test_evaluate_scores_when_it_is_there(process):
    more = "def evaluate(messages, ground_truth, **row):\n    return len(messages)"
    process.load(environment("return {'done': True}", more=more), environment=True)
    process.reset(jobs(None))
    process.step(replies(_0="x"))
    assert process.score(jobs(None)) == [Score(score=1.0)]


@pytest.mark.parametrize(
    ("step", "error"),
    [
        ("return None", errors.TurnInvalid),
        ("return 1.0", errors.TurnInvalid),
        ("return {'reward': 1.0}", errors.TurnInvalid),
        ("return {'done': 1}", errors.TurnInvalid),
        ("return {'done': False}", errors.TurnInvalid),
        ("return {'done': False, 'messages': []}", errors.TurnInvalid),
        ("return {'done': False, 'messages': 'go on'}", errors.TurnInvalid),
        ("return {'done': False, 'messages': [{'role': 'user'}]}", errors.TurnInvalid),
        (
            "return {'done': False, 'messages': [{'role': 'assistant', 'content': 'x'}]}",
            errors.TurnInvalid,
        ),
        (
            "return {'done': False, 'messages': [{'role': 'user', 'content': 'x', 'k': 1}]}",
            errors.TurnInvalid,
        ),
        (
            f"return {{'done': False, 'messages': "
            f"[{{'role': 'user', 'content': 'x' * {MAX_TURN_BYTES}}}]}}",
            errors.TurnInvalid,
        ),
        ("return {'done': True, 'reward': completion}", errors.ScoreInvalid),
        ("return {'done': True, 'reward': float('nan')}", errors.ScoreNotFinite),
        ("return {'done': True, completion: 1}", errors.MetricUndeclared),
        ("raise ValueError(completion)", errors.EvaluatorRaised),
        ("import socket; socket.socket()", errors.EvaluatorForbidden),
        ("open('/tmp/x', 'w')", errors.EvaluatorForbidden),
        ("import os; os._exit(0)", errors.EvaluatorExited),
    ],
)
def test_what_is_no_turn_is_told_by_row(process, step, error):
    good = "if completion == 'good': return {'done': True}\n        "
    process.load(environment(good + step), environment=True)
    process.reset(jobs(*range(4)))
    with pytest.raises(errors.EvaluatorError) as caught:
        process.step(replies(_1="good", _3=CANARY, _2="good"))
    assert type(caught.value) is error
    assert caught.value.row == 13
    assert CANARY not in str(caught.value) + str(caught.value.document())


@pytest.mark.parametrize(
    ("opening", "error"),
    [
        ("return 'hello'", errors.TurnInvalid),
        ("return []", errors.TurnInvalid),
        ("return [{'role': 'assistant', 'content': 'hello'}]", errors.TurnInvalid),
        ("return messages[1]", errors.EvaluatorRaised),
    ],
)
def test_what_is_no_beginning_is_told_by_row(process, opening, error):
    reset = f"if ground_truth == 'good': return None\n        {opening}"
    process.load(environment("return {'done': True}", reset), environment=True)
    with pytest.raises(errors.EvaluatorError) as caught:
        process.reset(jobs("good", "bad", "good"))
    assert (type(caught.value), caught.value.row) == (error, 11)


def test_two_ways_to_score_are_one_too_many(process):
    more = "def evaluate(messages, ground_truth, **row):\n    return 1.0"
    process.load(environment("return {'done': True, 'reward': 1}", more=more), environment=True)
    process.reset(jobs(None))
    with pytest.raises(errors.EvaluatorAmbiguous):
        process.step(replies(_0="x"))


def test_file_and_run_must_agree_on_an_environment(process):
    with pytest.raises(errors.EnvironmentUnused):
        process.load(environment("return {'done': True}"))
    scoring = b"from jinja2 import Environment\ndef evaluate(messages, ground_truth):\n    return 1"
    with pytest.raises(errors.EnvironmentMissing):
        process.load(scoring, environment=True)
    process.load(scoring)  # a class of that name from elsewhere is none of ours


@pytest.mark.parametrize(
    "forged",
    [
        b'{"type":"turned","turn":{"messages":[{"role":"assistant","content":"x"}],"done":false}}',
        b'{"type":"turned","turn":{"messages":[],"done":false}}',
        b'{"type":"turned","turn":{"messages":[{"role":"user","content":"x","k":1}],"done":false}}',
        b'{"type":"opened","messages":null}',
        b'{"type":"row","score":1,"values":[]}',
    ],
)
def test_forged_turns_end_the_process(process, forged):
    size = f"len({forged!r}).to_bytes(4, 'little')"
    step = f"import os; os.write(3, {size} + {forged!r}); return {{'done': True}}"
    process.load(environment(step), environment=True)
    process.reset(jobs(None))
    with pytest.raises(errors.EvaluatorProtocol):
        process.step(replies(_0="x"))


def test_a_true_turn_written_by_hand_passes(process):
    """The control to forged ones: their form is what is refused."""
    said = b'{"type":"turned","turn":{"messages":[{"role":"user","content":"x"}],"done":false}}'
    size = f"len({said!r}).to_bytes(4, 'little')"
    step = f"import os; os.write(3, {size} + {said!r}); os._exit(0)"
    process.load(environment(step), environment=True)
    process.reset(jobs(None))
    assert process.step(replies(_0="x"))[0].messages == (Message(role="user", content="x"),)


def test_a_frame_that_is_too_long_ends_the_process(process):
    step = f"import os; os.write(3, ({MAX_TURN_BYTES} + 1).to_bytes(4, 'little')); return 1"
    process.load(environment(step), environment=True)
    process.reset(jobs(None))
    with pytest.raises(errors.EvaluatorProtocol):
        process.step(replies(_0="x"))


def test_an_environment_that_hangs_is_stopped(process):
    process.load(environment("while True: pass"), environment=True, timeout_s=0.5)
    process.reset(jobs(None))
    with pytest.raises(errors.EvaluatorTimedOut):
        process.step(replies(_0="x"))
