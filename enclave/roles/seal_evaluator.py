"""What the ``seal`` enclave does with an evaluator: one source file becomes one sealed shard.

The source is compiled, so that a mistake is reported by line before a run is paid for, and is never
run.
"""

from __future__ import annotations

import os

from strongroom.crypto.keyset import Keyset
from strongroom.enclave.channel.framing import Channel
from strongroom.enclave.errors import EvaluatorTooLarge
from strongroom.enclave.evaluator.messages import MAX_SOURCE_BYTES
from strongroom.enclave.evaluator.syntax import check_syntax
from strongroom.enclave.roles.shard_writer import sent_shard


def seal_evaluator(channel: Channel, name: str, descriptor: int, keyset: Keyset) -> None:
    """Seal the source file behind ``descriptor`` as evaluator ``name``.

    Raises ``EvaluatorTooLarge`` and ``EvaluatorSyntax``; nothing is sent then.
    """
    text = _read(descriptor)
    check_syntax(text)
    with sent_shard(channel, keyset, name, 0, 1) as writer:
        writer.write(text)


def _read(descriptor: int) -> bytes:
    text = bytearray()
    while piece := os.read(descriptor, MAX_SOURCE_BYTES):
        text += piece
        if len(text) > MAX_SOURCE_BYTES:
            raise EvaluatorTooLarge(expected=f"{MAX_SOURCE_BYTES} bytes at most")
    return bytes(text)
