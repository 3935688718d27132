"""Framing over one stream socket: a kind, a length, a payload.

Kinds: ``RECORD`` (JSON of ``enclave.channel.frames``), ``DATA`` (a piece of an object), ``END`` (of
an object). A frame is at most ``MAX_FRAME_BYTES``; a longer one is refused before it is read.
Backpressure is the socket's own: a sender waits until the receiver has read.
"""

from __future__ import annotations

import socket
import struct
import time
from collections.abc import Iterable, Iterator
from enum import IntEnum
from typing import Final, TypeVar

import msgspec
from typing_extensions import Buffer

from strongroom.enclave.channel.errors import (
    ChannelBroken,
    ChannelViolation,
    EnclaveTimedOut,
    FrameTooLarge,
)

MAX_FRAME_BYTES: Final = 4 << 20
#: A record is small; only ``Start`` (a plan) and ``Keys`` come near this.
MAX_RECORD_BYTES: Final = 4 << 20
#: Largest object that fits into a record, which is JSON with the object in base64.
MAX_CONTROL_BYTES: Final = (MAX_RECORD_BYTES - 4096) // 4 * 3
SOCKET_BUFFER_BYTES: Final = 1 << 20
_HEADER: Final = struct.Struct("<BI")

T = TypeVar("T")


class Kind(IntEnum):
    """What a frame's payload is."""

    RECORD = 1
    DATA = 2
    END = 3


class Channel:
    """Both directions of one connected stream socket. Not thread safe: one owner at a time."""

    def __init__(self, sock: socket.socket, peer: str) -> None:
        self._sock = sock
        self.peer = peer
        self.deadline: float | None = None
        """When what is received must be there, in seconds of the monotonic clock."""
        self._header = bytearray(_HEADER.size)

    @classmethod
    def pair(cls) -> tuple[socket.socket, socket.socket]:
        """Two connected sockets with buffers large enough for streaming."""
        ours, theirs = socket.socketpair()
        for sock in (ours, theirs):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SOCKET_BUFFER_BYTES)
        return ours, theirs

    def limit(self, silence_s: float) -> None:
        """From now on raise ``EnclaveTimedOut`` when the peer is silent, or deaf, for so long."""
        self._sock.settimeout(silence_s)

    def fileno(self) -> int:
        """The descriptor, for ``select``."""
        return self._sock.fileno()

    def close(self) -> None:
        """Close the socket; the peer sees the end."""
        self._sock.close()

    def send(self, kind: Kind, payload: Buffer = b"") -> None:
        """Send one frame. Raises ``ChannelBroken`` when the peer is gone, and ``FrameTooLarge``,
        with nothing sent."""
        view = memoryview(payload).cast("B")
        if len(view) > MAX_FRAME_BYTES:
            limit = f"at most {MAX_FRAME_BYTES} bytes"
            raise FrameTooLarge(place=self.peer, expected=limit, actual=f"{len(view)} bytes")
        try:
            self._sock.sendall(_HEADER.pack(kind, len(view)))
            if len(view):
                self._sock.sendall(view)
        except TimeoutError:
            raise self._too_slow() from None
        except OSError:
            raise ChannelBroken(place=self.peer, actual="the other side is gone") from None

    def send_record(self, record: msgspec.Struct) -> None:
        """Send one record as JSON."""
        self.send(Kind.RECORD, msgspec.json.encode(record))

    def send_object(self, chunks: Iterable[Buffer]) -> None:
        """Send an object of any length: its bytes in frames, then the end."""
        for chunk in chunks:
            view = memoryview(chunk).cast("B")
            for start in range(0, len(view), MAX_FRAME_BYTES):
                self.send(Kind.DATA, view[start : start + MAX_FRAME_BYTES])
        self.send(Kind.END)

    def recv_into(self, buffer: bytearray) -> tuple[Kind, int]:
        """Receive one frame into ``buffer``, grown when needed; returns kind and payload bytes."""
        self._fill(memoryview(self._header))
        kind, size = _HEADER.unpack(self._header)
        if size > MAX_FRAME_BYTES or kind not in Kind.__members__.values():
            raise ChannelViolation(
                place=self.peer,
                expected=f"a frame of a known kind and at most {MAX_FRAME_BYTES} bytes",
                actual=f"kind {kind}, {size} bytes",
            )
        if len(buffer) < size:
            buffer.extend(bytes(size - len(buffer)))
        with memoryview(buffer) as view:
            self._fill(view[:size])
        return Kind(kind), size

    def recv(self) -> tuple[Kind, bytes]:
        """Receive one frame as bytes."""
        buffer = bytearray()
        kind, size = self.recv_into(buffer)
        return kind, bytes(buffer[:size])

    def recv_record(self, decoder: msgspec.json.Decoder[T]) -> T:
        """Receive one record. Anything else, or a malformed one, is a ``ChannelViolation``."""
        kind, payload = self.recv()
        if kind is not Kind.RECORD:
            raise ChannelViolation(place=self.peer, expected="a record", actual=kind.name.lower())
        try:
            return decoder.decode(payload)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            raise ChannelViolation(
                place=self.peer, expected="a record of a known schema", actual="something else"
            ) from None

    def recv_object(self, buffer: bytearray) -> Iterator[memoryview]:
        """Receive an object's bytes, piece by piece, up to its end.

        Each piece is a view of ``buffer`` and valid only until the next one. The buffer is grown
        beforehand: it cannot grow while somebody still holds a piece.
        """
        buffer.extend(bytes(max(0, MAX_FRAME_BYTES - len(buffer))))
        while True:
            kind, size = self.recv_into(buffer)
            if kind is Kind.END:
                return
            if kind is not Kind.DATA:
                raise ChannelViolation(
                    place=self.peer, expected="object bytes", actual=kind.name.lower()
                )
            with memoryview(buffer) as view:
                yield view[:size]

    def _fill(self, view: memoryview) -> None:
        got = 0
        while got < len(view):
            try:
                if self.deadline is not None:
                    self._sock.settimeout(max(self.deadline - time.monotonic(), 0.001))
                count = self._sock.recv_into(view[got:])
            except TimeoutError:
                raise self._too_slow() from None
            except OSError:
                count = 0
            if count == 0:
                raise ChannelBroken(place=self.peer, actual="the other side closed the channel")
            got += count

    def _too_slow(self) -> EnclaveTimedOut:
        return EnclaveTimedOut(place=self.peer, expected=f"{self._sock.gettimeout():.0f} s at most")
