"""The ``export`` enclave: a run's sealed adapter in, plain weights out, no network in between.

The process that starts it passes sealed bytes in and never sees what they hold. The weights go into
pipes that came over the socket before the lock-down, one for each file, so this process is as
locked as every other enclave: it can open no file for writing, and write to no file that is open.

For the adapter it writes that safetensors object as it was sealed: the file's SHA-256 is the
adapter's digest in the log. For a merged model it takes each weight file of the base model in turn
and returns it with the adapter added.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Sequence

from strongroom.crypto.digests import sha256
from strongroom.crypto.errors import CommitmentMismatch, ObjectDigestMismatch
from strongroom.crypto.manifest import object_ad
from strongroom.enclave.assurance import Assurance
from strongroom.enclave.attest import COMMANDS, Attested, export_subject
from strongroom.enclave.channel import frames
from strongroom.enclave.channel.errors import ChannelViolation, known
from strongroom.enclave.channel.framing import Channel
from strongroom.enclave.checkpoints import ADAPTER
from strongroom.enclave.roles.lifecycle import Lifecycle, Needs

OUTPUTS = "outputs"
MERGED = "merged"
MAX_FILES = 253
"""Descriptors that one message of a Unix socket can carry (``SCM_MAX_FD``)."""


def main(fd: int, assurance: Assurance, arguments: Sequence[str]) -> None:
    """Export over the socket ``fd``; ``arguments`` are nonce, run and form."""
    nonce, run, form = arguments
    sock = socket.socket(fileno=fd)
    _byte, outputs, _flags, _address = socket.recv_fds(sock, 1, MAX_FILES)
    channel = Channel(sock, "exporter's parent")
    life = Lifecycle.begin(channel, assurance)
    if form == MERGED:
        from strongroom.trainer.checkpoints import merging  # starts threads, so after stage A

        merging.warm_up()
    needs = Needs(memory_bytes=_memory_of_this_machine())  # it holds a weight file as a whole
    attested = life.attest("export", export_subject(run), nonce, fds=outputs, needs=needs)
    try:
        _export(channel, attested, run, form, outputs)
    except BaseException as error:  # a library's panic is no Exception
        channel.send_record(frames.Failure(code=known(error).code))


def _export(
    channel: Channel, attested: Attested, run: str, form: str, outputs: Sequence[int]
) -> None:
    command = channel.recv_record(COMMANDS)
    if not isinstance(command, frames.Export) or command.run != run:
        raise ChannelViolation(
            place="parent", expected=f"export of {run}", actual="another command"
        )
    adapter = _open(attested, command, _object(channel))
    if form == MERGED:
        from strongroom.trainer.checkpoints.merging import AdapterMerge

        merging = AdapterMerge(adapter)
        for index, output in enumerate(outputs):
            weights = _object(channel)
            merging.add_to(weights)
            if index == len(outputs) - 1:
                merging.check_complete()
            _write(channel, output, weights)
    else:
        (output,) = outputs
        _write(channel, output, adapter)


def _open(attested: Attested, command: frames.Export, sealed: bytearray) -> bytes:
    """The adapter's plaintext. Raises ``CommitmentMismatch``, and errors of a sealed object."""
    keyset = attested.keysets[OUTPUTS]
    if keyset.commitment() != command.commitment:
        raise CommitmentMismatch(place=OUTPUTS)
    ad = object_ad(command.run, command.step, ADAPTER)
    plain = bytes(keyset.streaming().open(sealed, ad))
    if sha256(plain) != command.adapter:
        raise ObjectDigestMismatch(place=ADAPTER)
    return plain


def _object(channel: Channel) -> bytearray:
    data = bytearray()
    for piece in channel.recv_object(bytearray()):
        data += piece
    return data


def _write(channel: Channel, output: int, data: bytes | bytearray) -> None:
    """Write one file and close it, then report that it is complete."""
    left = memoryview(data)
    while left:
        left = left[os.write(output, left) :]
    os.close(output)
    channel.send_record(frames.Done())


def _memory_of_this_machine() -> int:
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
