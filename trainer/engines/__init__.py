"""Rollout engines by configuration: one file and one line here for each."""

from __future__ import annotations

from collections.abc import Callable

from strongroom.trainer.config import Engine as EngineConfig
from strongroom.trainer.engines import vllm
from strongroom.trainer.engines.hf import HfSampler
from strongroom.trainer.model.lora import Policy
from strongroom.trainer.rollouts.rollout import Engine


def build_engine(config: EngineConfig, policy: Policy) -> Engine:
    """The engine that ``config`` names, sampling from ``policy``.

    ``vllm`` must have been started. Raises :class:`~trainer.errors.EngineNotStarted`.
    """
    builders: dict[str, Callable[[Policy], Engine]] = {"hf": HfSampler, "vllm": vllm.started}
    return builders[config.type](policy)
