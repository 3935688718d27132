"""JSON from outside: one bound on how deeply it nests, and one error for all that is wrong with it.

Recursive readers and writers give up at a depth of about a thousand, each at another one, and some
of them only where a document is written again. A bound far below holds for all of them: what one
process has read, every other can. It lies in this package since all others are above it.
"""

from __future__ import annotations

import re
from typing import Any, TypeVar, overload

import msgspec

MAX_DEPTH = 100
"""How many objects and arrays lie in each other at most."""

T = TypeVar("T")
_STRING = re.compile(rb'"(?:[^"\\]|\\.)*+"?', re.DOTALL)
_NOT_BRACKETS = bytes(set(range(256)) - set(b"[]{}"))


@overload
def decode(data: bytes | bytearray | memoryview | str) -> Any: ...
@overload
def decode(data: bytes | bytearray | memoryview | str, shape: type[T]) -> T: ...
def decode(data: bytes | bytearray | memoryview | str, shape: Any = Any) -> Any:
    """``msgspec.json.decode`` within ``MAX_DEPTH``.

    Raises ``msgspec.DecodeError`` whatever is wrong.
    """
    read = data.encode(errors="replace") if isinstance(data, str) else bytes(data)
    if _depth(read) > MAX_DEPTH:
        raise msgspec.DecodeError(f"JSON is nested deeper than {MAX_DEPTH}")
    try:
        return msgspec.json.decode(data, type=shape)
    except (UnicodeError, RecursionError) as error:
        raise msgspec.DecodeError(error.__class__.__name__) from None


def _depth(data: bytes) -> int:
    """How deeply JSON nests, or more than ``MAX_DEPTH``; of what is none, any number."""
    most = data.count(b"[") + data.count(b"{")
    if most <= MAX_DEPTH:
        return most  # almost every document
    depth = most = 0
    for bracket in _STRING.sub(b"", data).translate(None, _NOT_BRACKETS):
        depth += 1 if bracket in b"[{" else -1
        most = max(most, depth)
    return most
