"""Beam runners: a table from the run file's ``spec.runner`` to the module that makes the runner.

A runner is one file here with a ``build`` function, its settings in ``pipeline.runfile.runners``,
and a row in :data:`RUNNERS`. Modules are imported when chosen, since each brings Beam.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Protocol, cast, get_args

from strongroom.pipeline.runfile.runners import AnyRunner, EmbeddedRunner

if TYPE_CHECKING:
    from apache_beam.runners.runner import PipelineRunner

RUNNERS: Mapping[type[AnyRunner], str] = {
    EmbeddedRunner: "strongroom.pipeline.run.runners.embedded",
}
assert RUNNERS.keys() == set(get_args(AnyRunner) or (AnyRunner,)), "a runner without a row"  # noqa: S101


class _Module(Protocol):
    """What a runner's module has."""

    def build(self, config: AnyRunner) -> PipelineRunner:
        """Beam's runner for this configuration."""


def build_runner(config: AnyRunner) -> PipelineRunner:
    """Beam's runner that ``config`` names."""
    return cast("_Module", importlib.import_module(RUNNERS[type(config)])).build(config)
