"""Three checks of one answer, awaited together. Pointwise, asynchronous."""

import asyncio

from eval_protocol import (
    EvaluateResult,
    EvaluationRow,
    MetricResult,
    SingleTurnRolloutProcessor,
    evaluation_test,
)


async def is_right(row: EvaluationRow) -> float:
    await asyncio.sleep(0.002)
    return float(str(row.ground_truth) in row.last_assistant_message().content)


async def is_brief(row: EvaluationRow) -> float:
    words = len(row.last_assistant_message().content.split())
    await asyncio.sleep(0.001)
    return 1 / (1 + words)


async def is_on_topic(row: EvaluationRow) -> float:
    question = set("".join(message.content for message in row.get_user_messages()).split())
    answer = set(row.last_assistant_message().content.split())
    return len(question & answer) / max(len(question), 1)


@evaluation_test(
    input_dataset=["dataset.jsonl"],
    completion_params=[{"model": "accounts/example/models/some-model"}],
    rollout_processor=SingleTurnRolloutProcessor(),
    max_concurrent_evaluations=8,
    mode="pointwise",
)
async def test_answer(row: EvaluationRow) -> EvaluationRow:
    right, brief, topic = await asyncio.gather(is_right(row), is_brief(row), is_on_topic(row))
    weights = {"right": 0.7, "brief": 0.2, "topic": 0.1}
    values = {"right": right, "brief": brief, "topic": topic}
    row.evaluation_result = EvaluateResult(
        score=sum(weights[name] * value for name, value in values.items()),
        metrics={name: MetricResult(score=value, reason=name) for name, value in values.items()},
    )
    return row
