"""The example files for eval-protocol do what they say, under our shim."""

from __future__ import annotations

from pathlib import Path

import pytest

from strongroom.enclave.evaluator.process import EvaluatorProcess
from strongroom.trainer.rollouts.evaluators import Job

EXAMPLES = Path(__file__).parents[2] / "examples" / "eval_protocol"


def job(answer: str, group: int = 0) -> Job:
    question = {"role": "user", "content": "What is 17 + 25 ?"}
    messages = [question, {"role": "assistant", "content": answer}]
    return Job(messages=messages, ground_truth=42, group=group)


@pytest.fixture
def scores():
    """Scores of answers under one of the files, rounded."""

    def score(name: str, answers: list[str], metrics: list[str]) -> list[tuple[float, dict]]:
        with EvaluatorProcess.start() as process:
            process.load((EXAMPLES / name).read_bytes(), metrics)
            found = process.score([job(answer) for answer in answers])
        return [(round(each.score, 4), each.metrics) for each in found]

    return score


def test_the_pointwise_one(scores):
    answers = ["<answer>42</answer>", "<answer>41</answer>", "42"]
    assert scores("pointwise.py", answers, ["format", "length"]) == [
        (0.9952, {"format": 1.0, "length": 19.0}),
        (0.0953, {"format": 1.0, "length": 19.0}),
        (-0.0005, {"format": 0.0, "length": 2.0}),
    ]


def test_the_asynchronous_one(scores):
    found = scores("pointwise_async.py", ["42", "What is 41 ?"], ["right"])
    assert found == [(0.8, {"right": 1.0}), (0.09, {"right": 0.0})]


def test_the_groupwise_one(scores):
    found = scores("groupwise_async.py", ["42", "It is 42", "43"], ["rank"])
    assert [metrics["rank"] for _score, metrics in found] == [0.0, 2.0, 0.0]
    assert found[0][0] > found[1][0] > found[2][0] == 0.0
