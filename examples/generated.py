"""Questions from ``reasoning-gym``: procedurally generated tasks with verifiable answers.

Apache-2.0; Stojanovski et al., "Reasoning Gym", arXiv:2505.24760. It runs in a process of its own,
since some of its tasks depend on the order of a set, which differs from process to process unless
Python's hash seed is fixed.
"""

from __future__ import annotations

import json
from importlib.util import find_spec
from typing import Any

from strongroom.examples.errors import GeneratorMissing, RowsNotGenerated
from strongroom.isolated.start import run

PACKAGE = "reasoning-gym==0.1.25"


def entries(task: str, count: int, **settings: Any) -> list[dict[str, Any]]:
    """``count`` entries ``{question, answer, metadata}`` of a task, always the same.

    Raises :class:`GeneratorMissing` when the package is not installed, and
    :class:`RowsNotGenerated`.
    """
    if find_spec("reasoning_gym") is None:
        raise GeneratorMissing(place=PACKAGE)
    arguments = (task, json.dumps({"size": count, **settings}))
    result = run("strongroom.examples.generate_rows", arguments, environment={}, hash_seed=0)
    if result.returncode != 0:
        raise RowsNotGenerated(place=task, actual=f"exit status {result.returncode}")
    found: list[dict[str, Any]] = json.loads(result.stdout)
    return found
