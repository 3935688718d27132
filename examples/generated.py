"""Questions from ``reasoning-gym``: procedurally generated tasks with verifiable answers.

Apache-2.0; Stojanovski et al., "Reasoning Gym", arXiv:2505.24760. Imported only when rows are
prepared.
"""

from __future__ import annotations

from typing import Any

from pipeline.input_errors import GeneratorMissing

PACKAGE = "reasoning-gym==0.1.25"


def entries(task: str, count: int, **settings: Any) -> list[dict[str, Any]]:
    """``count`` entries ``{question, answer, metadata}`` of a task, always the same.

    Raises :class:`GeneratorMissing` when the package is not installed.
    """
    try:
        import reasoning_gym
    except ImportError:
        raise GeneratorMissing(place=PACKAGE) from None
    return list(reasoning_gym.create_dataset(task, size=count, seed=7, **settings))
