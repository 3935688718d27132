"""The ``view`` enclave: a run's sealed rollouts in, text for a person out, no network in between.

The process that starts it passes sealed bytes in and never sees what they hold: the text goes to an
output descriptor that came over the socket before the lock-down, most often the key holder's own
terminal. Rollouts are hostile (a model wrote them, perhaps after hostile rows), so only printable
characters of them reach the terminal, and none of their lines can look like one of ours.
"""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Iterator, Sequence

import msgspec

from strongroom.crypto.errors import CommitmentMismatch
from strongroom.crypto.manifest import object_ad
from strongroom.enclave.assurance import Assurance
from strongroom.enclave.attest import COMMANDS, view_subject
from strongroom.enclave.channel import frames
from strongroom.enclave.channel.errors import ChannelViolation, known
from strongroom.enclave.channel.framing import Channel
from strongroom.enclave.checkpoints import ROLLOUTS
from strongroom.enclave.roles.lifecycle import Lifecycle
from strongroom.errors.defect import OutputLost
from strongroom.errors.visible import SPELLED, visible
from strongroom.trainer.data.chat import Message

OUTPUTS = "outputs"


class Shown(msgspec.Struct, frozen=True):
    """One rollout as ``trainer.rollouts.scoring.ScoredRollout`` wrote it, read without torch."""

    step: int
    row: int
    messages: list[Message]
    completion: str
    tokens: int
    score: float
    metrics: dict[str, float]
    said: int = 0


_ROLLOUTS = msgspec.json.Decoder(Shown)


def main(fd: int, assurance: Assurance, arguments: Sequence[str]) -> None:
    """Show one object over the socket ``fd``; ``arguments`` are nonce and run."""
    nonce, run = arguments
    sock = socket.socket(fileno=fd)
    _byte, (output,), _flags, _address = socket.recv_fds(sock, 1, 1)
    channel = Channel(sock, "viewer's parent")
    life = Lifecycle.begin(channel, assurance)
    attested = life.attest("view", view_subject(run), nonce, fds=[output])
    command = channel.recv_record(COMMANDS)
    if not isinstance(command, frames.View) or command.run != run:
        raise ChannelViolation(place="parent", expected=f"view of {run}", actual="another command")
    sealed = bytearray()
    for piece in channel.recv_object(bytearray()):
        sealed += piece
    try:
        keyset = attested.keysets[OUTPUTS]
        if keyset.commitment() != command.commitment:
            raise CommitmentMismatch(place=OUTPUTS)
        plain = keyset.streaming().open(sealed, object_ad(run, command.step, ROLLOUTS))
        show = document if command.as_json else text
        shown = show(run, command.step, bytes(plain).splitlines())
        _write(output, shown, "ascii" if command.in_ascii else "utf-8")
    except BaseException as error:  # a library's panic is no Exception
        channel.send_record(frames.Failure(code=known(error).code))
    else:
        channel.send_record(frames.Done())


def text(run: str, step: int, lines: Sequence[bytes]) -> Iterator[str]:
    """The rollouts in ``lines`` (one JSON object each) as text for a terminal.

    Raises ``msgspec.DecodeError`` for a line that is not a rollout.
    """
    yield f"run {run} · step {step} · {len(lines)} sample rollouts\n"
    for line in lines:
        rollout = _ROLLOUTS.decode(line)
        numbers = {"score": rollout.score, **rollout.metrics}
        facts = [f"step {rollout.step}", f"row {rollout.row}", f"{rollout.tokens} tokens"]
        facts += [f"{visible(name)} {value:.4g}" for name, value in numbers.items()]
        yield f"\n── {' · '.join(facts)}\n"
        begun = len(rollout.messages) - rollout.said
        asked = [turn.content for turn in rollout.messages[:begun] if turn.role == "user"]
        yield _quoted("user", (asked[-1] if asked else None) or "")
        for turn in rollout.messages[begun:]:
            yield _quoted("model" if turn.role == "assistant" else turn.role, turn.content or "")
        yield _quoted("model", rollout.completion)


def document(run: str, step: int, lines: Sequence[bytes]) -> Iterator[str]:
    """The same as one JSON document, all of whose characters are visible ASCII.

    Raises ``msgspec.DecodeError`` as ``text`` does, before anything is written.
    """
    rollouts = []
    for rollout in map(_ROLLOUTS.decode, lines):
        fields = msgspec.to_builtins(rollout)
        messages = fields.pop("messages")
        begun = len(messages) - fields.pop("said")
        rollouts.append({**fields, "prompt": messages[:begun], "turns": messages[begun:]})
    found = json.dumps({"run": run, "step": step, "rollouts": rollouts}, separators=(",", ":"))
    yield found.replace("\x7f", r"\u007f") + "\n"  # the one control character that JSON leaves


def _quoted(who: str, text: str) -> str:
    """Each line after a mark, so that no content can look like a heading."""
    lines = [visible(line) for line in text.split("\n")]
    heads = [who, *[""] * (len(lines) - 1)]
    return "".join(f"{head:<6}│ {line}\n" for head, line in zip(heads, lines, strict=True))


def _write(output: int, pieces: Iterator[str], encoding: str) -> None:
    """Write all of it, or as much as is read (``strongroom rollouts RUN | head``).

    Raises ``OutputLost`` where it cannot be written.
    """
    try:
        for piece in pieces:
            left = memoryview(piece.encode(encoding, SPELLED))
            while left:
                left = left[os.write(output, left) :]
    except BrokenPipeError:
        return
    except OSError as error:
        raise OutputLost(place="output", actual=os.strerror(error.errno or 0)) from None
