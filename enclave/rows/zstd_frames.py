"""Check that a zstd file is whole, up to the end of its last frame.

The streaming decompressor takes a file that was cut for a shorter one and raises nothing, so rows
could get lost. A frame states the length of each of its blocks (RFC 8878, section 3.1.1), so its
end is found without decompressing anything.
"""

from __future__ import annotations

import os

import zstandard

from strongroom.enclave.channel.errors import NotCompressed

_HEADER_BYTES = 18
_SKIPPABLE = 0x184D2A50
_CHECKSUM_BYTES = 4
_REPEATED = 1
"""The kind of block that holds one byte, however long it becomes."""


def check_whole(source: int) -> None:
    """Walk the frames of the file ``source``; raises ``NotCompressed`` unless they fill it."""
    size = os.lseek(source, 0, os.SEEK_END)
    at = 0
    while at < size:
        head = os.pread(source, _HEADER_BYTES, at)
        if int.from_bytes(head[:4], "little") & ~0xF == _SKIPPABLE:
            at += 8 + int.from_bytes(head[4:8], "little")
        else:
            at = _frame_end(source, at, head, size)
    if at != size:
        raise NotCompressed(place="zstd frame", actual="a frame that is cut off")


def _frame_end(source: int, at: int, head: bytes, size: int) -> int:
    try:
        has_checksum = zstandard.get_frame_parameters(head).has_checksum
        at += zstandard.frame_header_size(head)
    except zstandard.ZstdError:
        raise NotCompressed(place="zstd frame", actual="no frame header") from None
    last = False
    while not last and at < size:
        block = int.from_bytes(os.pread(source, 3, at), "little")
        last, kind, length = bool(block & 1), block >> 1 & 3, block >> 3
        at += 3 + (1 if kind == _REPEATED else length)
    if not last:
        raise NotCompressed(place="zstd frame", actual="a frame that is cut off")
    return at + (_CHECKSUM_BYTES if has_checksum else 0)
