"""Which objects a complete run has written: names that follow from the run file alone.

So the plan can list them before anything is written, and a resumed run writes the same ones.
"""

from __future__ import annotations

import re

from strongroom.pipeline.planning.layout import RunLayout
from strongroom.pipeline.runfile.errors import BadRunId
from strongroom.trainer.config import TrainingConfig

_RUN_ID = re.compile(r"[a-z]([-a-z0-9]{0,61}[a-z0-9])?")
CHECKPOINT_OBJECTS = ("adapter.sealed", "state.sealed", "rollouts.sealed", "manifest.json")


def check_run_id(run_id: str) -> str:
    """The id itself. Raises ``BadRunId``: ids become object names and session names."""
    if not _RUN_ID.fullmatch(run_id):
        raise BadRunId(place="run id", actual=f"{len(run_id)} characters")
    return run_id


def checkpoint_steps(training: TrainingConfig) -> tuple[int, ...]:
    """Steps after which a checkpoint is written: every n-th, and the last."""
    every, last = training.checkpoint_every, training.steps
    return tuple(sorted({*range(every, last + 1, every), last}))


def run_objects(
    layout: RunLayout, training: TrainingConfig, *, sealed_evaluator: bool = False
) -> tuple[str, ...]:
    """Every object with a fixed name, as full URIs, sorted. Report files come beside them.

    A sealed evaluator stays where it is; the source of another one is kept beside the plan.
    """
    fixed = [layout.plan, layout.keys, layout.result]
    if not sealed_evaluator:
        fixed.append(layout.evaluator)
    for step in checkpoint_steps(training):
        fixed.extend(layout.checkpoint(step) + name for name in CHECKPOINT_OBJECTS)
    return tuple(sorted(fixed))
