"""Questions from ``reasoning-gym``: procedurally generated tasks with verifiable answers.

Apache-2.0; Stojanovski et al., "Reasoning Gym", arXiv:2505.24760. It runs in a process of its own,
since some of its tasks depend on the order of a set, which differs from process to process unless
Python's hash seed is fixed.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib.util import find_spec
from typing import Any

from strongroom.examples.errors import GeneratorMissing, RowsNotGenerated

PACKAGE = "reasoning-gym==0.1.25"
_GENERATE = """
import json, sys, reasoning_gym
task, settings = sys.argv[1], json.loads(sys.argv[2])
json.dump(list(reasoning_gym.create_dataset(task, seed=7, **settings)), sys.stdout)
"""


def entries(task: str, count: int, **settings: Any) -> list[dict[str, Any]]:
    """``count`` entries ``{question, answer, metadata}`` of a task, always the same.

    Raises :class:`GeneratorMissing` when the package is not installed, and
    :class:`RowsNotGenerated`.
    """
    if find_spec("reasoning_gym") is None:
        raise GeneratorMissing(place=PACKAGE)
    command = [sys.executable, "-c", _GENERATE, task, json.dumps({"size": count, **settings})]
    environment = {**os.environ, "PYTHONHASHSEED": "0"}
    result = subprocess.run(command, check=False, capture_output=True, env=environment)
    if result.returncode != 0:
        raise RowsNotGenerated(place=task, actual=f"exit status {result.returncode}")
    found: list[dict[str, Any]] = json.loads(result.stdout)
    return found
