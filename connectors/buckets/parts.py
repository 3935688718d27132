"""Cut what a caller wants to write into parts of equal size, without holding all of it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing_extensions import Buffer


def parts(data: Buffer | Iterable[Buffer], part_bytes: int) -> Iterator[memoryview]:
    """Yield ``data`` in views of ``part_bytes`` each, the last one shorter.

    A single buffer is not copied. Nothing is yielded for no bytes. Raises ``TypeError`` for what
    is neither a contiguous buffer nor an iterable of such.
    """
    whole = _view(data)
    if whole is not None:
        for start in range(0, len(whole), part_bytes):
            yield whole[start : start + part_bytes]
        return
    part = bytearray()
    for piece in data:  # type: ignore[union-attr]
        view = memoryview(piece).cast("B")
        while view:
            room = part_bytes - len(part)
            part += view[:room]
            view = view[room:]
            if len(part) == part_bytes:
                yield memoryview(part)
                part = bytearray()
    if part:
        yield memoryview(part)


def _view(data: Buffer | Iterable[Buffer]) -> memoryview | None:
    try:
        return memoryview(data).cast("B")  # type: ignore[arg-type]
    except TypeError:
        if isinstance(data, str) or not isinstance(data, Iterable):
            raise
        return None
