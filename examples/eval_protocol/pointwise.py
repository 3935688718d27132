"""Is the number between the <answer> tags the right one? Pointwise, synchronous."""

import re

from eval_protocol.models import EvaluateResult, EvaluationRow, Message, MetricResult
from eval_protocol.pytest import SingleTurnRolloutProcessor, evaluation_test


def answer_of(message: Message) -> str | None:
    found = re.findall(r"<answer>(.*?)</answer>", message.content or "", re.DOTALL)
    return found[-1].strip() if found else None


@evaluation_test(
    input_messages=[[[Message(role="user", content="What is 17 + 25?")]]],
    completion_params=[{"model": "accounts/example/models/some-model", "temperature": 0.7}],
    rollout_processor=SingleTurnRolloutProcessor(),
    aggregation_method="mean",
    passed_threshold=None,
    num_runs=1,
    mode="pointwise",
)
def test_sum(row: EvaluationRow) -> EvaluationRow:
    answer = answer_of(row.messages[-1])
    correct = answer == str(row.ground_truth)
    length = len(row.last_assistant_message().content)
    row.evaluation_result = EvaluateResult(
        score=0.9 * correct + 0.1 * (answer is not None) - min(length, 400) / 4000,
        reason="correct" if correct else "wrong",
        metrics={
            # Truth values and numbers as text become numbers, as pydantic makes them.
            "format": MetricResult(score=answer is not None, reason="tags"),
            "length": MetricResult(score=str(length), reason="characters"),
        },
    )
    return row
