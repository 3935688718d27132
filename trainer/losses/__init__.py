"""Training methods: what each makes of rewards and log-probabilities.

A method is one file here with a ``build`` function, its settings in ``trainer.methods``, and one
row of :data:`METHODS`. The loop knows only :class:`~trainer.losses.objective.Objective`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, get_args

from strongroom.trainer.losses import cispo, dapo, dr_grpo, grpo, gspo, rloo
from strongroom.trainer.losses.objective import Objective
from strongroom.trainer.methods import (
    AnyMethod,
    CispoMethod,
    DapoMethod,
    DrGrpoMethod,
    GrpoMethod,
    GspoMethod,
    RlooMethod,
)

METHODS: Mapping[type[AnyMethod], Callable[[Any, int], Objective]] = {
    GrpoMethod: grpo.build,
    DrGrpoMethod: dr_grpo.build,
    DapoMethod: dapo.build,
    GspoMethod: gspo.build,
    CispoMethod: cispo.build,
    RlooMethod: rloo.build,
}
assert METHODS.keys() == set(get_args(AnyMethod)), "a method without a row, or a row without one"  # noqa: S101


def build_objective(method: AnyMethod, max_tokens: int) -> Objective:
    """The objective that ``method`` names, for completions of up to ``max_tokens``."""
    return METHODS[type(method)](method, max_tokens)
