"""Evaluator files of the eval-protocol package, unmodified, in the confined process."""

from __future__ import annotations

import pytest

from strongroom.enclave import errors
from strongroom.enclave.evaluator.process import EvaluatorProcess
from strongroom.trainer.rollouts.evaluators import Job, Score
from support import PROGRAMS

MATH = (PROGRAMS / "eval_protocol_math.py").read_bytes()
HEAD = """
import asyncio
from eval_protocol import EvaluateResult, EvaluationRow, MetricResult, evaluation_test
"""


@pytest.fixture
def process():
    """A confined evaluator process, without anything loaded."""
    with EvaluatorProcess.start() as started:
        yield started


def job(content: str, truth: object = None, group: int = 0, **extra: object) -> Job:
    messages = [{"role": "user", "content": "2+2?"}, {"role": "assistant", "content": content}]
    return Job(messages=messages, ground_truth=truth, group=group, extra=extra)


def test_a_file_written_for_the_package_runs_unmodified(process):
    process.load(MATH, ["format"])
    jobs = [job("<answer>4</answer>", "4"), job("<answer>5</answer>", 4), job("four", "4")]
    assert process.score(jobs) == [
        Score(score=1.0, metrics={"format": 1.0}),
        Score(score=0.0, metrics={"format": 1.0}),
        Score(score=0.0, metrics={"format": 0.0}),
    ]


def test_metrics_that_the_plan_does_not_declare_stay_inside(process):
    process.load(MATH, [])
    assert process.score([job("<answer>4</answer>", "4")]) == [Score(score=1.0)]


def test_groupwise_and_async(process):
    """The best of a group gets 1: judged side by side, after a wait."""
    process.load(
        f"""{HEAD}
@evaluation_test(mode="groupwise", completion_params=[])
async def test_best(rows: list[EvaluationRow]) -> list[EvaluationRow]:
    await asyncio.gather(*(asyncio.sleep(0.01) for _ in rows))
    longest = max(len(row.last_assistant_message().content) for row in rows)
    for row in rows:
        best = len(row.last_assistant_message().content) == longest
        row.evaluation_result = EvaluateResult(score=float(best))
    return rows
""".encode()
    )
    jobs = [job("a"), job("abc"), job("abcd", group=1), job("abcde", group=1), job("x", group=2)]
    assert [score.score for score in process.score(jobs)] == [0.0, 1.0, 0.0, 1.0, 1.0]


def test_what_a_row_holds(process):
    process.load(
        f"""{HEAD}
@evaluation_test()
def test_all(row):
    assert row.input_metadata.row_id == "r7" and row.input_metadata.dataset_info == {{"n": 3}}
    assert row.tools == [{{"type": "function"}}] and row.ground_truth == {{"a": 1}}
    assert [m.role for m in row.messages] == ["user", "assistant"]
    assert row.get_system_message().content == "" and row.get_conversation_length() == 2
    copied = row.model_copy(update={{"ground_truth": 5}})
    assert copied.ground_truth == 5 and row.ground_truth == {{"a": 1}}
    assert row.model_dump()["messages"][0] == {{**row.messages[0].model_dump()}}
    result = EvaluateResult.model_validate(
        {{"score": 0.5, "metrics": {{"m": {{"score": 2.0}}}}, "step_outputs": []}}
    )
    assert isinstance(result.metrics["m"], MetricResult)
    row.evaluation_result = result
    return row
""".encode(),
        ["m"],
    )
    scored = process.score(
        [job("x", {"a": 1}, id="r7", n=3, tools=[{"type": "function"}])],
    )
    assert scored == [Score(score=0.5, metrics={"m": 2.0})]


def test_a_group_judge_of_our_own_form(process):
    process.load(
        b"def evaluate_group(completions, ground_truth, **row):\n"
        b"    sizes = [len(messages[-1]['content']) for messages in completions]\n"
        b"    return [{'score': size / max(sizes), 'size': size} for size in sizes]\n",
        ["size"],
    )
    found = process.score([job("ab"), job("abcd"), job("abc", group=1)])
    assert found == [
        Score(score=0.5, metrics={"size": 2.0}),
        Score(score=1.0, metrics={"size": 4.0}),
        Score(score=1.0, metrics={"size": 3.0}),
    ]


@pytest.mark.parametrize(
    ("text", "error"),
    [
        (HEAD + "@evaluation_test(mode='all')\ndef test_x(rows): ...\n", "EvaluatorAmbiguous"),
        (
            HEAD + "@evaluation_test()\ndef test_x(row): ...\ndef evaluate(*a, **k): return 1\n",
            "EvaluatorAmbiguous",
        ),
        (
            "def evaluate(*a, **k): return 1\ndef evaluate_group(*a, **k): return [1]\n",
            "EvaluatorAmbiguous",
        ),
        (HEAD + "def helper(row): ...\n", "EvaluateMissing"),
    ],
)
def test_a_file_has_one_way_to_score(process, text, error):
    with pytest.raises(getattr(errors, error)):
        process.load(text.encode())


@pytest.mark.parametrize(
    ("body", "error"),
    [
        ("row.evaluation_result = EvaluateResult(score=float('nan'))", "ScoreNotFinite"),
        ("row.evaluation_result = EvaluateResult(score=1, is_score_valid=False)", "ScoreInvalid"),
        ("row.evaluation_result = None", "ScoreInvalid"),
        ("raise KeyError(row.messages[0].content)", "EvaluatorRaised"),
        ("await asyncio.open_connection('127.0.0.1', 80)", "EvaluatorForbidden"),
    ],
)
def test_failures_are_told_as_those_of_any_evaluator(process, body, error):
    text = f"{HEAD}\n@evaluation_test()\nasync def test_x(row):\n    {body}\n    return row\n"
    process.load(text.encode())
    with pytest.raises(getattr(errors, error)) as caught:
        process.score([job("canary-in-a-row")], timeout_s=20)
    assert "canary" not in str(caught.value.document())


@pytest.mark.parametrize(
    ("given", "score"), [("True", 1.0), ("'0.25'", 0.25), ("' 1e-3'", 0.001), ("2", 2.0)]
)
def test_numbers_are_read_as_pydantic_reads_them(process, given, score):
    body = f"row.evaluation_result = EvaluateResult(score={given})"
    text = f"{HEAD}\n@evaluation_test()\ndef test_x(row):\n    {body}\n    return row\n"
    process.load(text.encode())
    assert process.score([job("x")]) == [Score(score=score)]


@pytest.mark.parametrize("given", ["'high'", "None", "[1]", "''"])
def test_what_pydantic_refuses_as_a_number_is_refused(process, given):
    body = f"row.evaluation_result = EvaluateResult(score={given})"
    text = f"{HEAD}\n@evaluation_test()\ndef test_x(row):\n    {body}\n    return row\n"
    process.load(text.encode())
    with pytest.raises(errors.EvaluatorRaised) as caught:
        process.score([job("x")])
    assert (caught.value.actual, caught.value.line) == ("ValueError", 7)


@pytest.mark.parametrize("results", ["[1]", "5", "'ab'", "None"])
def test_a_group_judge_answers_for_every_completion(process, results):
    process.load(f"def evaluate_group(*a, **k): return {results}".encode())
    with pytest.raises(errors.ScoreInvalid):
        process.score([job("a"), job("b")])
