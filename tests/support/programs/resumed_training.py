"""Goes on with the tiny model's training from a checkpoint in a folder, and puts the last there."""

from __future__ import annotations

from pathlib import Path

from strongroom.trainer.checkpoints.checkpoint import Checkpoint, resumed_state
from strongroom.trainer.config import TrainingConfig
from strongroom.trainer.loop import train
from support import tiny_model as tiny


def main(place: str, step: int, config_json: str, evaluator: str) -> None:
    """Resume at ``step``."""
    folder = Path(place)
    config = TrainingConfig.model_validate_json(config_json)
    # Another start and another global seed: all that counts is in the checkpoint.
    policy = tiny.tiny_policy(seed=11)
    parts = [(folder / name).read_bytes() for name in ("adapter", "state")]
    state = resumed_state(policy, config, Checkpoint(step, *parts))
    made: list[Checkpoint] = []
    judge = getattr(tiny, evaluator)()
    train(policy, tiny.tiny_rows(), judge, config, state, on_checkpoint=made.append)
    (folder / "adapter").write_bytes(made[-1].adapter)
    (folder / "state").write_bytes(made[-1].state)
