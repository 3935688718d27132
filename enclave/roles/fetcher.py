"""Objects of the plan, asked for over the channel: an enclave that trains opens no file itself."""

from __future__ import annotations

from collections.abc import Iterator

from strongroom.crypto.digests import sha256
from strongroom.enclave.channel import frames
from strongroom.enclave.channel.errors import PlanMismatch
from strongroom.enclave.channel.framing import Channel


class Fetcher:
    """Asks the broker for objects, one at a time."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self._buffer = bytearray()

    def pieces(self, request: frames.Fetch) -> Iterator[memoryview]:
        """An object's bytes, piece by piece; each piece is valid until the next.

        All of them must be taken before anything else is sent or received.
        """
        self._channel.send_record(request)
        return self._channel.recv_object(self._buffer)

    def whole(
        self, request: frames.Fetch, digest: str | None, size_bytes: int | None = None
    ) -> bytearray:
        """A whole object. Raises ``PlanMismatch`` unless it has the digest and size given."""
        data = bytearray()
        for piece in self.pieces(request):
            data += piece
        if digest is not None and sha256(data) != digest:
            raise PlanMismatch(place=request.kind, expected=digest, actual=sha256(data))
        if size_bytes is not None and len(data) != size_bytes:
            size = f"{size_bytes} bytes"
            raise PlanMismatch(place=request.kind, expected=size, actual=f"{len(data)} bytes")
        return data
