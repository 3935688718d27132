"""From a stream of bytes to its lines, in constant memory whatever the stream's length.

Lines are yielded without their newline and are not decoded here. What a line's number is, and where
in a sealed shard it stands, is kept in a :class:`Position`, so that an error can name the place
without quoting the row.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import zstandard

from strongroom.enclave.channel.errors import NotCompressed
from strongroom.trainer.data.rows import MAX_RECORD_BYTES

_READ_BYTES = 1 << 20
_WINDOW_BYTES = 8 << 20


@dataclass
class Position:
    """Where a reader stands; -1 for what does not apply."""

    segment: int = -1
    """The sealed segment, from 0."""
    line: int = -1
    """The line, from 1."""


class ByteStream(Protocol):
    """Gives bytes piece by piece."""

    def read(self, size: int = -1, /) -> bytes | memoryview:
        """The next piece; empty at the end."""
        ...


def records(
    stream: ByteStream, position: Position, *, compressed: bool = True
) -> Iterator[bytes | None]:
    """Each line of a (zstd) stream, without its newline; ``None`` for one that is too long.

    Keeps ``position.line``. A line that is too long is skipped to its end in constant memory.
    Raises ``NotCompressed``.
    """
    reader: Any = stream
    if compressed:
        decompressor: Any = zstandard.ZstdDecompressor(max_window_size=_WINDOW_BYTES)
        reader = decompressor.stream_reader(stream, read_across_frames=True)
    carry = bytearray()
    skipping = False
    position.line = 0
    while True:
        try:
            block = reader.read(_READ_BYTES)
        except zstandard.ZstdError:
            raise NotCompressed() from None
        if not block:
            break
        lines = block.split(b"\n")
        last = lines.pop()
        for line in lines:
            position.line += 1
            if skipping:
                skipping = False
                yield None
            elif carry:
                carry += line
                yield bytes(carry)
                carry.clear()
            else:
                yield line
        if skipping or len(carry) + len(last) > MAX_RECORD_BYTES:
            skipping = True
            carry.clear()
        else:
            carry += last
    if skipping or carry:
        position.line += 1
        yield None if skipping else bytes(carry)
