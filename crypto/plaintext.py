"""Decrypted bytes as a type of their own, so that they cannot be taken for anything else."""

from __future__ import annotations

from crypto.digests import Buffer
from crypto.secrecy import Secret


class Plaintext(Secret):
    """A view of decrypted bytes that does not pickle, print or iterate.

    It does not copy: the buffer stays the caller's. ``wipe`` overwrites that buffer, for which it
    must be writable.
    """

    __slots__ = ("_view",)

    def __init__(self, buffer: Buffer) -> None:
        self._view = memoryview(buffer).cast("B")

    @property
    def view(self) -> memoryview:
        """The bytes themselves."""
        return self._view

    def __len__(self) -> int:
        return len(self._view)

    def wipe(self) -> None:
        """Overwrite the bytes with zeros. Raises ``TypeError`` if the buffer is read-only."""
        self._view[:] = bytes(len(self._view))
