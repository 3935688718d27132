"""Rollout engines by configuration: one file and one line here for each."""

from __future__ import annotations

from trainer.config import Engine as EngineConfig
from trainer.engines.hf import HfSampler
from trainer.lora import Policy
from trainer.rollout import Engine


def build_engine(config: EngineConfig, policy: Policy) -> Engine:
    """The engine that ``config`` names, sampling from ``policy``."""
    return {"hf": HfSampler}[config.type](policy)
