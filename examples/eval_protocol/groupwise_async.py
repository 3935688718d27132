"""Right answers against each other: the shorter, the better. Groupwise, asynchronous."""

import asyncio
import statistics

from eval_protocol.models import EvaluateResult, EvaluationRow, MetricResult
from eval_protocol.pytest import SingleTurnRolloutProcessor, evaluation_test


async def length_of(row: EvaluationRow) -> int:
    await asyncio.sleep(0)
    return len(row.last_assistant_message().content)


@evaluation_test(
    input_dataset=["dataset.jsonl"],
    completion_params=[
        {"model": "accounts/example/models/some-model", "temperature": 0.7},
        {"model": "accounts/example/models/some-model", "temperature": 1.0},
    ],
    rollout_processor=SingleTurnRolloutProcessor(),
    mode="groupwise",
)
async def test_shortest(rows: list[EvaluationRow]) -> list[EvaluationRow]:
    lengths = await asyncio.gather(*(length_of(row) for row in rows))
    spread = statistics.pstdev(lengths) or 1.0
    for row, length in zip(rows, lengths, strict=True):
        right = str(row.ground_truth) in row.last_assistant_message().content
        shorter = (statistics.fmean(lengths) - length) / spread
        row.evaluation_result = EvaluateResult(
            score=max(0.0, 0.5 + 0.1 * shorter) if right else 0.0,
            metrics={"rank": MetricResult(score=sorted(lengths).index(length), reason="length")},
        )
    return rows
