"""The objects in a run's buckets: their names, and where they lie.

All follow from the run file and the run's id, so that the plan can list them before anything is
written, and a resumed run writes the same ones.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from strongroom.enclave.checkpoints import OBJECT_NAMES
from strongroom.enclave.plan.errors import BadRunId
from strongroom.trainer.config import TrainingConfig

PLAN = "plan.json"
KEYS = "keys.json"
EVALUATOR = "evaluator.py"
RESULT = "result.json"
MANIFEST = "manifest.json"
"""Beside the shards of a dataset and the objects of a checkpoint, and written after them."""
MODEL_LIST = "model.json"
"""Beside the files of a base model."""
CHECKPOINT_OBJECTS = (*OBJECT_NAMES.values(), MANIFEST)

_RUN_ID = re.compile(r"[a-z]([-a-z0-9]{0,61}[a-z0-9])?")


@dataclass(frozen=True)
class RunLayout:
    """The folder of one run: ``<outputs><run>/``."""

    outputs: str
    run: str

    @property
    def folder(self) -> str:
        """The run's prefix; ends in ``/``."""
        return f"{self.outputs}{self.run}/"

    @property
    def plan(self) -> str:
        """The plan, written first: a run exists once its plan does."""
        return self.folder + PLAN

    @property
    def keys(self) -> str:
        """The wrapped output keyset."""
        return self.folder + KEYS

    @property
    def evaluator(self) -> str:
        """The evaluator's source."""
        return self.folder + EVALUATOR

    @property
    def result(self) -> str:
        """The result, written last: a run is complete once it is there."""
        return self.folder + RESULT

    @property
    def checkpoints(self) -> str:
        """The prefix of all checkpoints; ends in ``/``."""
        return self.folder + "checkpoints/"

    def checkpoint(self, step: int) -> str:
        """The folder of one checkpoint."""
        return f"{self.checkpoints}{step:06d}/"

    def manifest(self, step: int) -> str:
        """The manifest of one checkpoint, which is complete once this is there."""
        return self.checkpoint(step) + MANIFEST


def check_run_id(run_id: str) -> str:
    """The id itself. Raises ``BadRunId``: ids become object names and session names."""
    if not _RUN_ID.fullmatch(run_id):
        raise BadRunId(place="run id", actual=f"{len(run_id)} characters")
    return run_id


def checkpoint_steps(training: TrainingConfig) -> tuple[int, ...]:
    """Steps after which a checkpoint is written: every n-th, and the last."""
    every, last = training.checkpoint_every, training.steps
    return tuple(sorted({*range(every, last + 1, every), last}))


def complete_checkpoints(names: Iterable[str]) -> list[int]:
    """Steps of the complete checkpoints, in order; ``names`` are relative to
    ``RunLayout.checkpoints``."""
    found = (re.fullmatch(rf"([0-9]+)/{re.escape(MANIFEST)}", name) for name in names)
    return sorted(int(match[1]) for match in found if match)


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
