"""Run every code path once, before the enclave closes.

Libraries import modules and open files the first time something is used, and after the lock-down
nothing can be opened. So the whole of a run is done once on synthetic rows: sampling, greedy and
not, loss, gradient, update, checkpoint, restore. Weights, gradients and all generators are then as
they were.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

from strongroom.trainer.checkpoints.checkpoint import Checkpoint, resumed_state
from strongroom.trainer.config import TrainingConfig
from strongroom.trainer.data.chat import Message, RecordFault
from strongroom.trainer.data.rows import Row
from strongroom.trainer.evaluation.held_out import evaluate
from strongroom.trainer.loop import train
from strongroom.trainer.model.lora import Policy
from strongroom.trainer.rollouts.evaluators import Job, Reply, Score, Turn
from strongroom.trainer.rollouts.prompts import render
from strongroom.trainer.steps.state import new_state

_ROWS = [
    Row(messages=(Message(role="system", content="Count."), Message(role="user", content=text)))
    for text in ("One, two.", "Three, four, five, six.")
]


class _Alternating:
    """Scores that always differ within a group, so that there is a gradient."""

    def reset(self, jobs: Sequence[Job]) -> list[tuple[Message, ...] | None]:
        return [None for _ in jobs]

    def step(self, replies: Sequence[Reply]) -> list[Turn]:
        answer = (Message(role="user", content="Go on."),)
        return [Turn(messages=answer, done=False) for _ in replies]

    def score(self, jobs: Sequence[Job]) -> list[Score]:
        return [
            Score(score=float(index % 2), metrics={"accuracy": float(index % 2)})
            for index, _ in enumerate(jobs)
        ]


def _rows(policy: Policy) -> list[Row]:
    """Rows to warm up on; some templates have no place for a system's message."""
    try:
        render(policy, _ROWS[0].messages, None)
    except RecordFault:
        return [Row(messages=row.messages[1:]) for row in _ROWS]
    return _ROWS


def warm_up(policy: Policy, config: TrainingConfig) -> None:
    """Do once what a run does: train, evaluate, restore.

    Only two prompts, two completions, two tokens. Changes neither ``policy`` nor torch's global
    generator.
    """
    weights = policy.flat.clone()
    global_generator = torch.get_rng_state()
    one_step = config.model_copy(
        update={
            "steps": 1,
            "checkpoint_every": 1,
            "warmup_steps": 0,
            "prompts_per_step": len(_ROWS),
            "samples_per_prompt": 2,
            "sampling": config.sampling.model_copy(
                update={"max_tokens": 2, "max_turns": min(2, config.sampling.max_turns)}
            ),
        }
    )
    checkpoints: list[Checkpoint] = []
    rows = _rows(policy)
    try:
        state = new_state(policy, one_step)
        train(policy, rows, _Alternating(), one_step, state, on_checkpoint=checkpoints.append)
        evaluate(policy, rows, _Alternating(), one_step)
        resumed_state(policy, one_step, checkpoints[0])
    finally:
        policy.flat.copy_(weights)
        policy.flat_grad.zero_()
        torch.set_rng_state(global_generator)
