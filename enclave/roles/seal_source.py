"""What the ``seal`` enclave does with an evaluator: one source file becomes one sealed shard.

The source is compiled, so that a slip is told by line before anybody pays for it, and never run.
"""

from __future__ import annotations

import os

from strongroom.crypto.keyset import Keyset
from strongroom.crypto.manifest import encode_header, shard_identity
from strongroom.enclave.channel import frames
from strongroom.enclave.channel.framing import Channel, Kind
from strongroom.enclave.errors import EvaluatorSyntax, EvaluatorTooLarge
from strongroom.enclave.evaluator.messages import FILE, MAX_SOURCE_BYTES


def seal_source(channel: Channel, name: str, source: int, keyset: Keyset) -> None:
    """Seal the file behind the descriptor ``source`` as evaluator ``name``.

    Raises ``EvaluatorTooLarge`` and ``EvaluatorSyntax``; nothing is sent then.
    """
    text = _read(source)
    _check_syntax(text)
    channel.send_record(frames.Put(artifact="shard", index=0, size_bytes=0))
    ad = shard_identity(name, keyset.key_id, 0, 1)
    writer = keyset.streaming().writer(ad, lambda piece: channel.send(Kind.DATA, piece))
    writer.write(text)
    writer.close()
    channel.send(Kind.END)
    channel.send_record(
        frames.ShardSealed(
            shard=0,
            header=encode_header(writer.header),
            records=1,
            plaintext_bytes=writer.plaintext_bytes,
        )
    )


def _read(source: int) -> bytes:
    text = bytearray()
    while piece := os.read(source, MAX_SOURCE_BYTES):
        text += piece
        if len(text) > MAX_SOURCE_BYTES:
            raise EvaluatorTooLarge(expected=f"{MAX_SOURCE_BYTES} bytes at most")
    return bytes(text)


def _check_syntax(text: bytes) -> None:
    try:
        compile(text, FILE, "exec", dont_inherit=True)
    except SyntaxError as error:
        raise EvaluatorSyntax(line=error.lineno, column=error.offset) from None
    except (ValueError, RecursionError, MemoryError):  # null bytes; nested beyond the parser
        raise EvaluatorSyntax() from None
