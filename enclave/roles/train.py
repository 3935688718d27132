"""The ``train`` enclave: lock down, attest, get keys, then verify, train and evaluate on command.

What is its own in ``enclave.roles.lifecycle``: between the two stages it forks both evaluators,
then imports torch, loads the public base model and warms up. Nothing confidential is in the process
before the keys arrive, and from then on the only way out is the channel, whose other end admits
nothing but ``enclave.channel.frames``.

Plaintext is neither kept out of Python's heap nor wiped; it dies with the process.
"""

from __future__ import annotations

import socket
from collections.abc import Sequence
from typing import TYPE_CHECKING

from strongroom.crypto.segments import SEGMENT_BYTES
from strongroom.enclave.assurance import Assurance
from strongroom.enclave.attest import COMMANDS
from strongroom.enclave.channel import frames
from strongroom.enclave.channel.errors import ChannelBroken, ChannelViolation, known
from strongroom.enclave.channel.framing import Channel
from strongroom.enclave.channel.outgoing_words import DETAILS
from strongroom.enclave.evaluator.pair import Evaluators
from strongroom.enclave.plan.derived import check_derived
from strongroom.enclave.plan.document import Plan
from strongroom.enclave.roles.fetcher import Fetcher
from strongroom.enclave.roles.lifecycle import Lifecycle, Needs
from strongroom.enclave.sandbox.scratch import Scratch
from strongroom.errors import StrongroomError
from strongroom.errors.listing import errors_of
from strongroom.trainer.engines import reads_files, start_engine
from strongroom.trainer.engines.scratch import most_bytes

if TYPE_CHECKING:
    from strongroom.enclave.roles.datasets import Where
    from strongroom.enclave.roles.tasks import Tasks


def main(fd: int, assurance: Assurance, _arguments: Sequence[str]) -> None:
    """Serve one run over the socket ``fd``, until a ``Stop`` or until the broker is gone."""
    channel = Channel(socket.socket(fileno=fd), "broker")
    start = channel.recv_record(COMMANDS)
    if not isinstance(start, frames.Start):
        raise ChannelViolation(place="broker", expected="start", actual=type(start).__name__)
    try:
        plan = Plan.from_json(start.plan)
        check_derived(plan)
        scratch = None
        if reads_files(plan.training.engine):
            scratch = Scratch(most_bytes({file.name: file.size_bytes for file in plan.model.files}))
        life = Lifecycle.begin(channel, assurance, window_bytes=SEGMENT_BYTES, scratch=scratch)
        evaluators = Evaluators.start(locked=life.locked)
        tasks = _prepare(life, plan, start.nonce, evaluators, scratch)
    except ChannelBroken:
        return
    except BaseException as error:  # a library's panic is no Exception
        _report(channel, known(error), None)
        return
    channel.send_record(frames.Done())
    while True:
        command = channel.recv_record(COMMANDS)
        if isinstance(command, frames.Stop):
            return
        try:
            _run(tasks, command)
            channel.send_record(frames.Done())
        except ChannelBroken:
            return
        except BaseException as error:
            _report(channel, known(error), tasks.where)


def _prepare(
    life: Lifecycle,
    plan: Plan,
    nonce: str,
    evaluators: Evaluators,
    scratch: Scratch | None,
) -> Tasks:
    """From a process without torch to one that holds keys; the order matters, see above."""
    import torch

    from strongroom.enclave.roles.tasks import Tasks
    from strongroom.trainer.model.base import load_base
    from strongroom.trainer.model.lora import attach_lora
    from strongroom.trainer.warmup import warm_up

    asked = plan.run_file
    config = asked.training
    files = {}
    fetcher = Fetcher(life.channel)
    for index, file in enumerate(plan.model.files):
        request = frames.Fetch(kind="model", index=index)
        files[file.name] = fetcher.whole(request, file.sha256, file.size_bytes)
    base = load_base(files, getattr(torch, plan.model.precision), asked.enclave.threads)
    policy = attach_lora(base, asked.model.lora, config.seed)
    if scratch:
        start_engine(config, policy, files, scratch)
    files.clear()
    warm_up(policy, config)
    if scratch:
        scratch.close()
    needs = Needs(
        executable=plan.model.precision == "bfloat16",
        engine=scratch is not None,
        memory_bytes=plan.limits.memory_bytes,
    )
    attested = life.attest("train", plan.digest, nonce, evaluators=evaluators, needs=needs)
    return Tasks(life.channel, plan, policy, evaluators, attested, life.window.buffer)


def _run(tasks: Tasks, command: frames.Command) -> None:
    match command:
        case frames.Verify():
            tasks.verify(command)
        case frames.Evaluate():
            tasks.evaluate(command)
        case frames.Train():
            tasks.train(command)
        case frames.TestEvaluator():
            tasks.test_evaluator(command)
        case _:
            raise ChannelViolation(
                place="broker", expected="a command of a train enclave", actual="another"
            )


def _report(channel: Channel, error: StrongroomError, where: Where | None) -> None:
    """Send the failure as numbers and enumerated words; the error's texts stay here."""
    error = errors_of(error)[0]
    word = error.actual if error.actual in DETAILS else ""
    row = getattr(error, "row", None)
    line = getattr(error, "line", None)
    column = getattr(error, "column", None)
    record = frames.Failure(
        code=error.code,
        detail=word,
        dataset=where.dataset if where else "train",
        shard=where.shard if where else -1,
        segment=where.position.segment if where else -1,
        row=-1 if row is None else row,
        line=(where.position.line if where else -1) if line is None else line,
        column=-1 if column is None else column,
        step=where.step if where else -1,
    )
    channel.send_record(record)
