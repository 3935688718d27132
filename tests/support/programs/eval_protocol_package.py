"""Scores rows with the real eval-protocol package; runs in that package's own environment.

Reads ``{"file": path, "groups": [[row, …], …]}`` as JSON, a group being the completions of one row,
and writes ``[{"score": …, "metrics": {…}}, …]`` in the order of the rows. Calls the decorated
function with rows, which the package offers beside its run under pytest.
"""

import asyncio
import importlib.util
import json
import sys

from eval_protocol.models import EvaluationRow, InputMetadata, Message

order = json.load(sys.stdin)
spec = importlib.util.spec_from_file_location("evaluator", order["file"])
module = importlib.util.module_from_spec(spec)
spec.loader.exec_module(module)
(test,) = (value for value in vars(module).values() if hasattr(value, "_metainfo"))


def row_of(given: dict) -> EvaluationRow:
    return EvaluationRow(
        messages=[Message(**message) for message in given["messages"]],
        ground_truth=given["ground_truth"],
        input_metadata=InputMetadata(row_id=given["id"]),
    )


async def evaluated() -> list[EvaluationRow]:
    found = []
    for group in order["groups"]:
        rows = [row_of(row) for row in group]
        if test._metainfo["mode"] == "groupwise":
            found += await test(rows)
        else:
            found += [await test(row) for row in rows]
    return found


results = [row.evaluation_result for row in asyncio.run(evaluated())]
json.dump(
    [
        {"score": result.score, "metrics": {k: m.score for k, m in result.metrics.items()}}
        for result in results
    ],
    sys.stdout,
)
