"""Where a run's objects lie, under the outputs prefix. Names are deterministic; see DESIGN."""

from __future__ import annotations

from dataclasses import dataclass


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
        return self.folder + "plan.json"

    @property
    def keys(self) -> str:
        """The wrapped output keyset."""
        return self.folder + "keys.json"

    @property
    def evaluator(self) -> str:
        """The evaluator's source."""
        return self.folder + "evaluator.py"

    @property
    def result(self) -> str:
        """The result, written last: a run is complete once it is there."""
        return self.folder + "result.json"

    def checkpoint(self, step: int) -> str:
        """The folder of one checkpoint; complete once its ``manifest.json`` is there."""
        return f"{self.folder}checkpoints/{step:06d}/"
