"""What changes while a run trains, other than the adapter itself."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from strongroom.trainer.config import TrainingConfig
from strongroom.trainer.model.lora import Policy
from strongroom.trainer.steps.optimizer import AdamW


@dataclass
class TrainingState:
    """Everything, with the adapter, that a run needs to continue."""

    step: int
    """Steps done."""
    rows_taken: int
    """Rows sampled from so far."""
    optimizer: AdamW
    generator: torch.Generator
    """The only source of randomness in sampling."""


def new_state(policy: Policy, config: TrainingConfig) -> TrainingState:
    """The state before the first step."""
    generator = torch.Generator().manual_seed(config.seed)
    return TrainingState(step=0, rows_taken=0, optimizer=AdamW(policy), generator=generator)
