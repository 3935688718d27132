"""The arithmetic of Tink's AES-GCM-HKDF streaming format: lengths and places, no cryptography.

A sealed object is a header of 40 bytes, then segments::

    40 | salt (32) | nonce prefix (7) | segment 0 | segment 1 | … | last segment

Segment ``i`` ends at byte ``(i + 1) * segment_bytes`` of the object (the last one may end earlier)
and its last 16 bytes are its tag; segment 0 shares its room with the header.

Invariant: plaintext lengths and sealed lengths map one to one. A last segment without plaintext
exists only in the object of the empty plaintext, so an object cannot be cut or extended at a
segment border and still have a possible length with the same content.

Source: https://developers.google.com/tink/streaming-aead/aes_gcm_hkdf_streaming
"""

from __future__ import annotations

from dataclasses import dataclass

from strongroom.crypto.errors import LengthImpossible, PlaintextTooLong

SEGMENT_BYTES = 1 << 20
SALT_BYTES = 32
PREFIX_BYTES = 7
HEADER_BYTES = 1 + SALT_BYTES + PREFIX_BYTES
TAG_BYTES = 16
MAX_SEGMENTS = 1 << 32
"""The segment's number is in the nonce, as four bytes."""


@dataclass(frozen=True, slots=True)
class Layout:
    """Where segments lie, for one segment size in bytes (1 MiB unless a test says otherwise)."""

    segment_bytes: int = SEGMENT_BYTES

    def __post_init__(self) -> None:
        if self.segment_bytes <= HEADER_BYTES + TAG_BYTES:
            raise ValueError(f"a segment must be longer than {HEADER_BYTES + TAG_BYTES} bytes")

    @property
    def first_plaintext_bytes(self) -> int:
        """How many plaintext bytes a full segment 0 holds."""
        return self.segment_bytes - HEADER_BYTES - TAG_BYTES

    @property
    def other_plaintext_bytes(self) -> int:
        """How many plaintext bytes any other full segment holds."""
        return self.segment_bytes - TAG_BYTES

    def ciphertext_bytes(self, plaintext_bytes: int) -> int:
        """The length of the sealed object. Raises ``PlaintextTooLong``."""
        if plaintext_bytes < 0:
            raise ValueError("a length is not negative")
        beyond_first = max(0, plaintext_bytes - self.first_plaintext_bytes)
        segments = 1 + -(-beyond_first // self.other_plaintext_bytes)
        if segments > MAX_SEGMENTS:
            raise PlaintextTooLong(
                expected=f"at most {MAX_SEGMENTS} segments", actual=f"{segments} segments"
            )
        return HEADER_BYTES + plaintext_bytes + TAG_BYTES * segments

    def segments(self, ciphertext_bytes: int) -> int:
        """How many segments an object of this length has."""
        return max(1, -(-ciphertext_bytes // self.segment_bytes))

    def plaintext_bytes(self, ciphertext_bytes: int, *, place: str = "") -> int:
        """The length of the plaintext. Raises ``LengthImpossible``."""
        segments = self.segments(ciphertext_bytes)
        last_bytes = ciphertext_bytes - (segments - 1) * self.segment_bytes
        least = HEADER_BYTES + TAG_BYTES if segments == 1 else TAG_BYTES + 1
        if last_bytes < least or segments > MAX_SEGMENTS:
            raise LengthImpossible(place=place, actual=f"{ciphertext_bytes} bytes")
        return ciphertext_bytes - HEADER_BYTES - TAG_BYTES * segments

    def segment_range(self, i: int, ciphertext_bytes: int) -> tuple[int, int]:
        """The bytes ``start, stop`` of segment ``i`` in the object. Raises ``IndexError``."""
        if not 0 <= i < self.segments(ciphertext_bytes):
            raise IndexError(f"the object has no segment {i}")
        start = HEADER_BYTES if i == 0 else i * self.segment_bytes
        return start, min((i + 1) * self.segment_bytes, ciphertext_bytes)

    def plaintext_range(self, i: int, ciphertext_bytes: int) -> tuple[int, int]:
        """The bytes ``start, stop`` of segment ``i`` in the plaintext. Raises ``IndexError``."""
        first, stop = self.segment_range(i, ciphertext_bytes)
        start = i * self.other_plaintext_bytes - (HEADER_BYTES if i else 0)
        return start, start + stop - first - TAG_BYTES


_LAYOUT = Layout()


def ciphertext_bytes(plaintext_bytes: int) -> int:
    """The length of the sealed form of so many plaintext bytes. Raises ``PlaintextTooLong``."""
    return _LAYOUT.ciphertext_bytes(plaintext_bytes)


def plaintext_bytes(ciphertext_bytes: int) -> int:
    """The length of what a sealed object of this length holds. Raises ``LengthImpossible``."""
    return _LAYOUT.plaintext_bytes(ciphertext_bytes)
