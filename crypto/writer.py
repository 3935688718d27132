"""Sealing of a plaintext whose length is not known beforehand, in constant memory.

The last segment carries a mark in its nonce, so a full segment is held back until either more
plaintext follows or the writer closes. An object whose writer never closed has no last segment and
does not open: a crash cannot leave a shorter object that passes for a whole one.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from types import TracebackType

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from strongroom.crypto.digests import Buffer, Sha256
from strongroom.crypto.errors import PlaintextTooLong
from strongroom.crypto.secrecy import Secret
from strongroom.crypto.segments import HEADER_BYTES, MAX_SEGMENTS, PREFIX_BYTES, TAG_BYTES, Layout


def segment_nonce(prefix: bytes, i: int, *, last: bool) -> bytes:
    """The 12-byte AES-GCM nonce of segment ``i``."""
    return prefix + i.to_bytes(4, "big") + (b"\x01" if last else b"\x00")


class SealWriter(Secret):
    """Takes plaintext in pieces of any size and hands sealed bytes to ``sink``.

    ``sink`` gets memoryviews that are valid during the call only; it copies what it keeps. Memory:
    one plaintext and one ciphertext segment (2 MiB). As a context manager it closes on success and,
    if the block raises, wipes its plaintext and leaves the object without a last segment. After an
    exception from ``sink`` the writer is unusable.
    """

    __slots__ = (
        "_aead",
        "_closed",
        "_digest",
        "_filled",
        "_i",
        "_layout",
        "_pending",
        "_sealed",
        "_sink",
        "header",
        "plaintext_bytes",
        "size_bytes",
    )

    def __init__(
        self, aead: AESGCM, header: bytes, layout: Layout, sink: Callable[[memoryview], None]
    ) -> None:
        """Use ``StreamingKey.writer``, which never repeats a header."""
        self._aead = aead
        self._layout = layout
        self._sink = sink
        self._pending = memoryview(bytearray(layout.other_plaintext_bytes))
        self._sealed = memoryview(bytearray(layout.segment_bytes))
        self._filled = 0
        self._i = 0
        self._closed = False
        self._digest = hashlib.sha256()
        self.header = header
        """The object's 40-byte header, which its manifest pins."""
        self.plaintext_bytes = 0
        """Plaintext bytes taken so far."""
        self.size_bytes = 0
        """Sealed bytes handed to the sink so far; the object's length once closed."""

    @property
    def sha256(self) -> Sha256:
        """The SHA-256 of the sealed bytes handed to the sink so far."""
        return Sha256("sha256:" + self._digest.hexdigest())

    def write(self, buffer: Buffer) -> None:
        """Take all of ``buffer``. Raises ``PlaintextTooLong`` and what ``sink`` raises."""
        if self._closed:
            raise ValueError("the writer is closed")
        view = memoryview(buffer).cast("B")
        while len(view):
            room = self._room()
            if self._filled == room:
                self._flush(self._pending[:room], last=False)
                self._filled = 0
            elif self._filled == 0 and len(view) > room:
                self._flush(view[:room], last=False)
                self.plaintext_bytes += room
                view = view[room:]
            else:
                size = min(room - self._filled, len(view))
                self._pending[self._filled : self._filled + size] = view[:size]
                self._filled += size
                self.plaintext_bytes += size
                view = view[size:]

    def close(self) -> None:
        """Seal the last segment. A second call does nothing."""
        if self._closed:
            return
        try:
            self._flush(self._pending[: self._filled], last=True)
        finally:
            self.abort()

    def abort(self) -> None:
        """Wipe the held plaintext and give up; what was written so far does not open."""
        self._closed = True
        self._pending[:] = bytes(len(self._pending))
        self._filled = 0

    def __enter__(self) -> SealWriter:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if kind is None:
            self.close()
        else:
            self.abort()

    def _room(self) -> int:
        first, other = self._layout.first_plaintext_bytes, self._layout.other_plaintext_bytes
        return other if self._i else first

    def _flush(self, plaintext: memoryview, *, last: bool) -> None:
        i = self._i
        if i >= MAX_SEGMENTS:
            self.abort()
            raise PlaintextTooLong(expected=f"at most {MAX_SEGMENTS} segments")
        # Counted before the sink runs: a nonce is spent even if the sink then fails.
        self._i += 1
        start = 0 if i else HEADER_BYTES
        stop = start + len(plaintext) + TAG_BYTES
        self._sealed[:start] = self.header[:start]
        nonce = segment_nonce(self.header[-PREFIX_BYTES:], i, last=last)
        self._aead.encrypt_into(nonce, plaintext, None, self._sealed[start:stop])
        self.size_bytes += stop
        self._digest.update(self._sealed[:stop])
        try:
            self._sink(self._sealed[:stop].toreadonly())
        except BaseException:
            self.abort()
            raise
