"""An evaluator as one writes it for the eval-protocol package; it runs here as it is there."""

import re

from eval_protocol.models import EvaluateResult, EvaluationRow, Message, MetricResult
from eval_protocol.pytest import SingleTurnRolloutProcessor, evaluation_test


def answer_of(message: Message) -> str | None:
    found = re.findall(r"<answer>(.*?)</answer>", message.content or "", re.DOTALL)
    return found[-1].strip() if found else None


@evaluation_test(
    input_dataset=["dataset.jsonl"],
    completion_params=[{"model": "accounts/example/models/some-model", "temperature": 0.7}],
    rollout_processor=SingleTurnRolloutProcessor(),
    passed_threshold=None,
    num_runs=1,
    mode="pointwise",
)
def test_math(row: EvaluationRow) -> EvaluationRow:
    answer = answer_of(row.messages[-1])
    correct = answer is not None and answer == str(row.ground_truth)
    row.evaluation_result = EvaluateResult(
        score=1.0 if correct else 0.0,
        is_score_valid=True,
        reason="correct" if correct else "wrong",
        metrics={
            "format": MetricResult(score=float(answer is not None), reason="", is_score_valid=True)
        },
    )
    return row
