"""Sealed objects: Tink ``AES256_GCM_HKDF_1MB`` streaming AEAD on ``cryptography`` alone.

Each object has its own AES-256 key, ``HKDF-SHA256(key, salt from the header, info = identity)``.
Segment ``i`` is AES-GCM under the nonce ``prefix | i as 4 bytes | 1 if last else 0``. The identity
(``ad``) states which logical object this is; see ``crypto.manifest.shard_ad``.

Invariants:

* Which segment is the last one follows from the object's length, which the caller pins (from a
  signed manifest). It is never found out by trying, so a cut or extended object does not open.
* When a segment is refused, the caller's buffer is zeroed: AES-GCM implementations write plaintext
  before they know whether it is authentic, and leave it there.
* An ``Opener`` authenticates single segments. The whole object is authentic once each of its
  segments was opened.

Not here: key commitment (AES-GCM alone has none; ``Keyset.commitment`` provides it) and hiding of
lengths.
"""

from __future__ import annotations

import hashlib
import hmac
import os
from collections.abc import Callable

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from strongroom.crypto.digests import Buffer
from strongroom.crypto.errors import HeaderMalformed, SegmentLengthWrong, SegmentRefused
from strongroom.crypto.secrecy import Secret
from strongroom.crypto.segments import (
    HEADER_BYTES,
    PREFIX_BYTES,
    SALT_BYTES,
    SEGMENT_BYTES,
    TAG_BYTES,
    Layout,
)
from strongroom.crypto.subkeys import subkey
from strongroom.crypto.writer import SealWriter, segment_nonce

KEY_BYTES = 32


class StreamingKey(Secret):
    """Seals and opens objects under one 32-byte key. Safe to share between threads."""

    __slots__ = ("_key", "_layout")

    def __init__(self, key: bytes, *, segment_bytes: int = SEGMENT_BYTES) -> None:
        """``segment_bytes`` differs from 1 MiB only in tests, which want many small segments."""
        if len(key) != KEY_BYTES:
            raise ValueError(f"a key has {KEY_BYTES} bytes, not {len(key)}")
        self._key = bytes(key)
        self._layout = Layout(segment_bytes)

    def seal(self, plaintext: Buffer, ad: bytes) -> bytearray:
        """The sealed form of ``plaintext`` under a fresh random salt."""
        return self._seal(plaintext, ad, _header(os.urandom(SALT_BYTES + PREFIX_BYTES)))

    def seal_deterministic(self, plaintext: Buffer, ad: bytes) -> bytearray:
        """Like ``seal``, but the same plaintext and ``ad`` always give the same bytes.

        For objects that a killed run writes again when it resumes; the argument why this is safe
        is in docs/adr/0001-deterministic-sealing.md. ``plaintext`` must not change during the call.
        """
        message = b"".join(
            (
                self._layout.segment_bytes.to_bytes(8, "big"),
                len(ad).to_bytes(8, "big"),
                ad,
                hashlib.sha256(plaintext).digest(),
            )
        )
        tag = hmac.digest(subkey(self._key, b"deterministic-seal"), message, "sha512")
        return self._seal(plaintext, ad, _header(tag[: SALT_BYTES + PREFIX_BYTES]))

    def writer(self, ad: bytes, sink: Callable[[memoryview], None]) -> SealWriter:
        """A writer for plaintext of unknown length, in constant memory."""
        header = _header(os.urandom(SALT_BYTES + PREFIX_BYTES))
        return SealWriter(self._object_key(header, ad), header, self._layout, sink)

    def open(self, sealed: Buffer, ad: bytes, *, place: str = "sealed object") -> bytearray:
        """The plaintext of a whole object held in memory.

        ``place`` names the object in errors. Raises ``HeaderMalformed``, ``LengthImpossible``,
        ``SegmentRefused``.
        """
        source = memoryview(sealed).cast("B")
        opener = self.opener(bytes(source[:HEADER_BYTES]), len(source), ad, place=place)
        plaintext = bytearray(opener.plaintext_bytes)
        target = memoryview(plaintext)
        for i in range(opener.segments):
            start, stop = opener.segment_range(i)
            first, end = opener.plaintext_range(i)
            opener.open_into(i, source[start:stop], target[first:end])
        return plaintext

    def opener(
        self, header: bytes, ciphertext_bytes: int, ad: bytes, *, place: str = "sealed object"
    ) -> Opener:
        """Opens single segments of an object whose 40-byte header and length are pinned.

        Raises ``HeaderMalformed`` and ``LengthImpossible``.
        """
        if len(header) != HEADER_BYTES or header[0] != HEADER_BYTES:
            raise HeaderMalformed(
                place=place,
                expected=f"{HEADER_BYTES} bytes that start with {HEADER_BYTES:#04x}",
                actual=f"{len(header)} bytes" + (f", {header[0]:#04x} first" if header else ""),
            )
        self._layout.plaintext_bytes(ciphertext_bytes, place=place)
        key = self._object_key(header, ad)
        return Opener(key, header, self._layout, ciphertext_bytes, place)

    def _object_key(self, header: bytes, ad: bytes) -> AESGCM:
        salt = header[1 : 1 + SALT_BYTES]
        return AESGCM(HKDF(SHA256(), KEY_BYTES, salt, ad).derive(self._key))

    def _seal(self, plaintext: Buffer, ad: bytes, header: bytes) -> bytearray:
        source = memoryview(plaintext).cast("B")
        sealed = bytearray(self._layout.ciphertext_bytes(len(source)))
        target = memoryview(sealed)
        target[:HEADER_BYTES] = header
        aead, prefix = self._object_key(header, ad), header[-PREFIX_BYTES:]
        segments = self._layout.segments(len(sealed))
        for i in range(segments):
            start, stop = self._layout.segment_range(i, len(sealed))
            first, end = self._layout.plaintext_range(i, len(sealed))
            nonce = segment_nonce(prefix, i, last=i == segments - 1)
            aead.encrypt_into(nonce, source[first:end], None, target[start:stop])
        return sealed


class Opener(Secret):
    """Opens segments of one object, in any order, into buffers that the caller reuses."""

    __slots__ = (
        "_aead",
        "_layout",
        "_place",
        "_prefix",
        "ciphertext_bytes",
        "plaintext_bytes",
        "segments",
    )

    def __init__(
        self, aead: AESGCM, header: bytes, layout: Layout, ciphertext_bytes: int, place: str
    ) -> None:
        """Use ``StreamingKey.opener``, which checks what stands here unchecked."""
        self._aead = aead
        self._prefix = header[-PREFIX_BYTES:]
        self._layout = layout
        self._place = place
        self.ciphertext_bytes = ciphertext_bytes
        self.plaintext_bytes = layout.plaintext_bytes(ciphertext_bytes)
        self.segments = layout.segments(ciphertext_bytes)

    def segment_range(self, i: int) -> tuple[int, int]:
        """The bytes ``start, stop`` of segment ``i`` in the object."""
        return self._layout.segment_range(i, self.ciphertext_bytes)

    def plaintext_range(self, i: int) -> tuple[int, int]:
        """The bytes ``start, stop`` of segment ``i`` in the plaintext."""
        return self._layout.plaintext_range(i, self.ciphertext_bytes)

    def open_into(self, i: int, segment: Buffer, out: Buffer) -> int:
        """Decrypt segment ``i`` into the start of ``out``; returns the plaintext bytes written.

        ``segment`` is exactly the bytes of ``segment_range(i)``. ``out`` is writable, does not
        overlap ``segment``, and may be longer than needed. If the segment is refused, all of
        ``out`` is zeroed. Raises ``SegmentRefused`` and ``SegmentLengthWrong``; ``ValueError`` if
        ``out`` is too short, ``IndexError`` if there is no such segment.
        """
        source, target = memoryview(segment), memoryview(out).cast("B")
        start, stop = self.segment_range(i)
        size = stop - start - TAG_BYTES
        if source.nbytes != stop - start:
            _zero(target)
            raise SegmentLengthWrong(
                place=f"{self._place} segment {i}",
                expected=f"{stop - start} bytes",
                actual=f"{source.nbytes} bytes",
            )
        if len(target) < size:
            raise ValueError(f"segment {i} needs {size} bytes, the buffer has {len(target)}")
        nonce = segment_nonce(self._prefix, i, last=i == self.segments - 1)
        try:
            return self._aead.decrypt_into(nonce, source, None, target[:size])
        except InvalidTag:
            _zero(target)
            raise SegmentRefused(place=f"{self._place} segment {i}") from None


def _header(salt_and_prefix: bytes) -> bytes:
    return bytes([HEADER_BYTES]) + salt_and_prefix


def _zero(view: memoryview) -> None:
    view[:] = bytes(len(view))
