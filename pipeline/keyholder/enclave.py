"""What a key holder's commands share: a run's sealed objects, and an enclave that opens them.

Such a command (``strongroom rollouts``, ``strongroom export``) has the network and the ciphertext,
and never the key or the plaintext. The enclave that it starts gets the key from the releaser,
sealed to it, and writes to descriptors that it was handed before it locked itself in. All that it
may say back is ``done`` or an error's code.
"""

from __future__ import annotations

import base64
import socket
import subprocess
from collections.abc import Iterable, Sequence

import msgspec
from typing_extensions import Buffer

from strongroom.connectors.buckets.errors import ObjectMissing
from strongroom.crypto.digests import sha256
from strongroom.crypto.errors import EnvelopeMalformed
from strongroom.crypto.manifest import SealedObject, WrappedKeyset, decode_checkpoint
from strongroom.crypto.pinned import check_digest, check_object
from strongroom.crypto.segments import HEADER_BYTES
from strongroom.enclave.broker import RECORDS
from strongroom.enclave.channel import frames
from strongroom.enclave.channel.errors import ChannelViolation
from strongroom.enclave.channel.framing import Channel
from strongroom.enclave.sandbox import launch
from strongroom.errors import StrongroomError
from strongroom.errors.registry import all_codes
from strongroom.pipeline.broker.reading import ReadAccess
from strongroom.pipeline.planning.errors import FactMissing


class KeyHolderEnclave:
    """An enclave that opens a run's outputs for whoever may have their key."""

    def __init__(self, module: str, arguments: Sequence[str], outputs: Sequence[int]) -> None:
        """Start ``module`` at A1; it writes what it opens to the descriptors ``outputs``."""
        self._name = module.rpartition(".")[2]
        ours, theirs = Channel.pair()
        # Queued before the child starts: it takes the descriptors before it locks itself in.
        socket.send_fds(ours, [b"\0"], list(outputs))
        self._channel = Channel(ours, self._name)
        self._process = launch.start(module, theirs.fileno(), "A1", arguments=arguments)
        theirs.close()

    def evidence(self) -> bytes:
        """What it says of itself, for the releaser."""
        record = self._channel.recv_record(RECORDS)
        if not isinstance(record, frames.EvidenceFrame):
            raise ChannelViolation(place=self._name, expected="evidence")
        return record.evidence

    def send(self, *commands: frames.Command) -> None:
        """Commands, the sealed keys among them."""
        for command in commands:
            self._channel.send_record(command)

    def send_object(self, pieces: Iterable[Buffer]) -> None:
        """One object's bytes."""
        self._channel.send_object(pieces)

    def done(self, place: str) -> None:
        """Wait for ``done``. Raises the error that it reports, at ``place``."""
        match self._channel.recv_record(RECORDS):
            case frames.Done():
                return
            case frames.Failure(code=code) if code in all_codes():
                raise all_codes()[code](place=place)
            case _:
                raise ChannelViolation(place=self._name, expected="done, or the code of an error")

    def kill(self) -> None:
        """End it; plaintext dies with the process."""
        self._channel.close()
        self._process.kill()
        self._process.wait()

    def ending(self) -> str:
        """How its process ended, once its channel is closed."""
        try:
            status = self._process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            return "it closed its channel"
        return f"signal {-status}" if status < 0 else f"exit status {status}"


def output_keyset(access: ReadAccess, missing: type[StrongroomError]) -> WrappedKeyset:
    """The run's wrapped output keyset. Raises ``missing`` where there is none."""
    place = access.layout.keys
    data = access.get(place)
    if data is None:
        raise missing(place=place, expected="the run's wrapped output keyset")
    try:
        return msgspec.json.decode(data, type=WrappedKeyset)
    except msgspec.DecodeError:
        raise FactMissing(place=place, expected="a wrapped keyset") from None


def checkpoint_objects(envelope: bytes, place: str) -> dict[str, SealedObject]:
    """What a checkpoint's manifest pins, by name. Its signature is ``verify``'s to check: that an
    enclave of this run wrote an object is proven by the seal, which nobody else could make."""
    try:
        payload = base64.b64decode(msgspec.json.decode(envelope)["payload"])
    except (msgspec.DecodeError, KeyError, TypeError, ValueError):
        raise EnvelopeMalformed(place=place) from None
    return decode_checkpoint(payload, place).objects


def sealed_object(
    access: ReadAccess, place: str, pinned: SealedObject, missing: type[StrongroomError]
) -> bytes:
    """The sealed object at ``place``, as its manifest pins it. Raises ``missing`` for none."""
    sealed = bytearray()
    try:
        for piece in access.stream(place):
            sealed += piece
            if len(sealed) > pinned.size_bytes:
                break
    except ObjectMissing:
        raise missing(place=place, expected=f"{pinned.size_bytes} bytes") from None
    check_object(pinned, size_bytes=len(sealed), header=sealed[:HEADER_BYTES], place=place)
    check_digest(pinned, sha256(sealed), place=place)
    return bytes(sealed)
