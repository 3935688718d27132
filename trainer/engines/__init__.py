"""Rollout engines: a table from settings to the module that samples, imported when chosen.

An engine is one file here with a ``build`` function, its settings in ``trainer.config``, and a row
in :data:`ENGINES`. Importing this package loads neither torch nor any engine.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, NamedTuple, Protocol, cast, get_args

from strongroom.trainer.config import AnyEngine, HfEngine, TrainingConfig, VllmEngine

if TYPE_CHECKING:
    from strongroom.trainer.engines.scratch import Scratch
    from strongroom.trainer.model.lora import Policy
    from strongroom.trainer.rollouts.rollout import Engine


class Row(NamedTuple):
    """Where an engine is, and what it needs."""

    module: str
    reads_files: bool
    """Whether it takes the model as files, and is started on them before anything samples."""


class _Module(Protocol):
    """What an engine's module has."""

    def build(self, policy: Policy) -> Engine:
        """The engine, sampling from ``policy``."""

    def start(
        self,
        config: TrainingConfig,
        policy: Policy,
        files: Mapping[str, bytes | bytearray],
        scratch: Scratch,
    ) -> object:
        """Only where the engine reads files: start it on those of the base model."""


ENGINES: Mapping[type[AnyEngine], Row] = {
    HfEngine: Row("strongroom.trainer.engines.hf", reads_files=False),
    VllmEngine: Row("strongroom.trainer.engines.vllm", reads_files=True),
}
assert ENGINES.keys() == set(get_args(AnyEngine)), "an engine without a row, or a row without one"  # noqa: S101


def reads_files(config: AnyEngine) -> bool:
    """Whether the engine needs a folder with the model, and :func:`start_engine`."""
    return ENGINES[type(config)].reads_files


def start_engine(
    config: TrainingConfig,
    policy: Policy,
    files: Mapping[str, bytes | bytearray],
    scratch: Scratch,
) -> None:
    """Start this process's engine on ``policy``, whose base was loaded from ``files``.

    Raises :class:`~trainer.errors.EngineMissing` and :class:`~trainer.errors.EngineUnfit`.
    """
    _module(config.engine).start(config, policy, files, scratch)


def build_engine(config: AnyEngine, policy: Policy) -> Engine:
    """The engine that ``config`` names, sampling from ``policy``.

    Raises :class:`~trainer.errors.EngineNotStarted` for one that reads files and was not started.
    """
    return _module(config).build(policy)


def _module(config: AnyEngine) -> _Module:
    return cast("_Module", importlib.import_module(ENGINES[type(config)].module))
