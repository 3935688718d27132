"""An enclave with one task, as the process that starts it sees it: evidence, commands, its end.

For sealer, viewer, exporter and prober; ``broker`` drives the one that trains.
"""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Sequence
from types import TracebackType

from strongroom.enclave.channel import frames
from strongroom.enclave.channel.ending import ending
from strongroom.enclave.channel.errors import (
    ChannelBroken,
    ChannelError,
    ChannelViolation,
    EnclaveKilled,
)
from strongroom.enclave.channel.framing import Channel
from strongroom.enclave.sandbox import launch
from strongroom.errors import StrongroomError
from strongroom.errors.registry import all_codes

SILENCE_S = 3600.0
"""How long such an enclave may say nothing: it reads, or merges, one file in between."""


class TaskEnclave:
    """An enclave at A1, for as long as the ``with`` block lasts; plaintext dies with it.

    In the block, a channel that breaks is raised as what the process reported before it ended, else
    as ``EnclaveKilled``, with how it did.
    """

    def __init__(
        self,
        name: str,
        module: str,
        arguments: Sequence[str] = (),
        descriptors: Sequence[int] = (),
    ) -> None:
        """Start ``module`` with ``arguments``; it may write to the open ``descriptors``.

        ``name`` is what errors call it.
        """
        self._name = name
        ours, theirs = Channel.pair()
        self.channel = Channel(ours, name)
        self.channel.limit(SILENCE_S)
        if descriptors:
            # Queued before the child starts: it takes them before it locks itself in.
            socket.send_fds(ours, [b"\0"], list(descriptors))
        self._process = launch.start(module, theirs.fileno(), "A1", arguments=arguments)
        theirs.close()

    def __enter__(self) -> TaskEnclave:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            if isinstance(error, ChannelBroken):
                how = ending(self._process)
                killed = EnclaveKilled(place=self._name, actual=how)
                raise self._process.refusal() or self._reported() or killed from None
        finally:
            self.channel.close()
            self._process.kill()
            self._process.wait()

    def _reported(self) -> StrongroomError | None:
        """What it said before it ended, while it was still being written to."""
        with contextlib.suppress(ChannelError):
            match self.receive():
                case frames.Failure(code=code) if code in all_codes():
                    return all_codes()[code](place=self._name)
        return None

    def receive(self) -> frames.Outgoing:
        """Its next record."""
        return self.channel.recv_record(frames.RECORDS)

    def evidence(self) -> bytes:
        """What it says of itself, which comes first."""
        record = self.receive()
        if not isinstance(record, frames.EvidenceFrame):
            raise ChannelViolation(place=self._name, expected="evidence")
        return record.evidence

    def send(self, *commands: frames.Command) -> None:
        """Commands, the sealed keys among them."""
        for command in commands:
            self.channel.send_record(command)

    def done(self, place: str) -> None:
        """Wait for ``Done``. Raises the error that it reports, at ``place``."""
        match self.receive():
            case frames.Done():
                return
            case frames.Failure(code=code) if code in all_codes():
                raise all_codes()[code](place=place)
            case _:
                raise ChannelViolation(place=self._name, expected="done, or the code of an error")
