"""Reading a sealed shard inside the enclave: authenticate, decompress, split into records.

Invariants: memory is constant whatever the shard's size (one segment, one decompression window,
one record); no byte is looked at before its segment is authenticated; the header and the length
are those that the signed manifest pins, so that a shard cannot be exchanged, cut or rolled back.
"""

from __future__ import annotations

from collections.abc import Iterator

from strongroom.crypto.keyset import Keyset
from strongroom.crypto.manifest import DatasetManifest, Shard, shard_ad
from strongroom.crypto.segments import HEADER_BYTES, SEGMENT_BYTES
from strongroom.crypto.streaming import Opener
from strongroom.enclave.channel.errors import PlanMismatch, RecordCountWrong
from strongroom.enclave.rows.lines import Position, records


class SegmentReader:
    """A file-like source of a shard's authenticated plaintext, one segment at a time."""

    def __init__(
        self,
        pieces: Iterator[memoryview],
        opener: Opener,
        header: bytes,
        window: memoryview,
        position: Position,
    ) -> None:
        self._pieces = pieces
        self._opener = opener
        self._header = header
        self._position = position
        self._segment = 0
        self._buffer = bytearray(SEGMENT_BYTES)
        self._filled = 0
        self._plain = window
        self._piece: memoryview | None = None

    def read(self, _size: int = -1, /) -> memoryview:
        """The next segment's plaintext (a view valid until the next call), empty at the end."""
        if self._segment == self._opener.segments:
            if self._piece or next(self._pieces, None) is not None:
                raise PlanMismatch(expected="the pinned length", actual="more bytes")
            return memoryview(b"")
        self._position.segment = self._segment
        start, stop = self._opener.segment_range(self._segment)
        wanted = stop - (0 if self._segment == 0 else start)
        sealed = self._take(wanted)
        if self._segment == 0:
            if sealed[:HEADER_BYTES] != self._header:
                raise PlanMismatch(expected="the header in the manifest", actual="another header")
            sealed = sealed[HEADER_BYTES:]
        size = self._opener.open_into(self._segment, sealed, self._plain)
        self._segment += 1
        return self._plain[:size]

    def _take(self, wanted: int) -> memoryview:
        """``wanted`` bytes of ciphertext, without a copy when one piece holds them all."""
        if self._piece is not None and len(self._piece) >= wanted:
            taken, self._piece = self._piece[:wanted], self._piece[wanted:]
            return taken
        got = 0
        while got < wanted:
            if self._piece is None or not len(self._piece):
                self._piece = next(self._pieces, None)
                if self._piece is None:
                    raise PlanMismatch(expected="the pinned length", actual="fewer bytes")
                if got == 0 and len(self._piece) >= wanted:
                    return self._take(wanted)
            count = min(wanted - got, len(self._piece))
            self._buffer[got : got + count] = self._piece[:count]
            self._piece = self._piece[count:]
            got += count
        return memoryview(self._buffer)[:wanted]


def open_shard(
    pieces: Iterator[memoryview],
    manifest: DatasetManifest,
    shard: Shard,
    keyset: Keyset,
    window: memoryview,
    position: Position,
) -> Iterator[bytes | None]:
    """The records of ``shard``; checks at the end that there were as many as the manifest says.

    ``window`` holds one segment's plaintext at a time, ``SEGMENT_BYTES`` of it.
    """
    header = shard.header_bytes
    opener = keyset.streaming().opener(header, shard.size_bytes, shard_ad(manifest, shard))
    count = 0
    for line in records(SegmentReader(pieces, opener, header, window, position), position):
        count += 1
        if count > shard.records:
            raise RecordCountWrong(expected=str(shard.records), actual="more")
        yield line
    if count != shard.records:
        raise RecordCountWrong(expected=str(shard.records), actual=str(count))
