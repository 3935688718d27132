"""Trains the tiny model in a folder, taking up what is there; kills itself when told to.

A checkpoint's parts are written one after the other, as a broker writes objects, and count once
their manifest is there. Nine steps of three prompts over nine rows: each epoch ends with a
checkpoint.
"""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import torch

from strongroom.trainer.checkpoints.checkpoint import Checkpoint, resumed_state
from strongroom.trainer.engines import hf
from strongroom.trainer.loop import train
from strongroom.trainer.steps.state import new_state
from support import tiny_model as tiny

PARTS = ("adapter", "state")


def die() -> None:
    """As the kernel's out-of-memory killer would: no handler, no flush."""
    os.kill(os.getpid(), signal.SIGKILL)


class Killer:
    """Ends the process at one moment of its life."""

    def __init__(self, moment: str) -> None:
        self._moment = moment
        self.step = 0
        self._draws = 0

    def watch_sampling(self) -> None:
        """Be asked at every token that is drawn."""
        draw = hf.draw

        def watched(*given: Any) -> Any:
            self.at("draw")
            return draw(*given)

        hf.draw = watched

    def at(self, place: str) -> None:
        """The process is at ``place``; die if that is the moment."""
        if place == "step":
            self.step += 1
            self._draws = 0
        self._draws += place == "draw"
        now = {
            "mid_generation": (place, self.step, self._draws) == ("draw", 4, 3),
            "mid_save": place == "half a state" and self.step == 6,
            "epoch_boundary": (place, self.step, self._draws) == ("draw", 3, 1),
            "end_of_epoch": place == "step" and self.step == 3,
        }
        if now.get(self._moment, False):
            die()


def main(place: str, threads: int, moment: str = "") -> None:
    """Train to the end, or to the moment."""
    folder = Path(place)
    config = tiny.tiny_config(steps=9)
    policy = tiny.tiny_policy(awake=False)
    torch.set_num_threads(threads)
    steps = [int(path.name.split(".")[0]) for path in folder.glob("*.manifest")]
    state = new_state(policy, config)
    if steps:
        parts = [(folder / f"{max(steps)}.{part}").read_bytes() for part in PARTS]
        state = resumed_state(policy, config, Checkpoint(max(steps), *parts))
    killer = Killer(moment)
    killer.step = state.step
    killer.watch_sampling()

    def save(checkpoint: Checkpoint) -> None:
        for part in PARTS:
            data = getattr(checkpoint, part)
            with (folder / f"{checkpoint.step}.{part}").open("wb", buffering=0) as file:
                file.write(data[: len(data) // 2])
                killer.at(f"half a {part}")
                file.write(data[len(data) // 2 :])
        (folder / f"{checkpoint.step}.manifest").touch()

    train(
        policy,
        tiny.tiny_rows()[:9],
        tiny.letter_evaluator(),
        config,
        state,
        on_step=lambda _: killer.at("step"),
        on_checkpoint=save,
    )
