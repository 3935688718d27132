"""The part of Protocol Buffers that Tink keysets need: varints and length-delimited fields.

Stricter than protobuf on purpose: unknown fields, repeated singular fields, other wire types and
over-long varints are refused, so that no two readers can see different keys in the same bytes.

Source: https://protobuf.dev/programming-guides/encoding/
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

_VARINT, _BYTES = 0, 2
_MAX_VARINT_BYTES = 10


class ProtoError(ValueError):
    """The bytes are not a message of the expected shape. Holds no content."""


def varint(value: int) -> bytes:
    """``value`` (not negative) as a base-128 varint."""
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def integer_field(number: int, value: int) -> bytes:
    """A varint field; nothing for zero, which proto3 leaves out."""
    return varint(number << 3 | _VARINT) + varint(value) if value else b""


def bytes_field(number: int, value: bytes) -> bytes:
    """A length-delimited field: bytes, a UTF-8 string, or an embedded message."""
    return varint(number << 3 | _BYTES) + varint(len(value)) + value


class Message:
    """The fields of one message, read strictly.

    ``shape`` maps each allowed field number to ``int`` or ``bytes``. Raises ``ProtoError``.
    """

    __slots__ = ("_fields",)

    def __init__(self, data: bytes, shape: Mapping[int, type[int] | type[bytes]]) -> None:
        self._fields: dict[int, list[int | bytes]] = {}
        for number, value in _read(data):
            kind = shape.get(number)
            if kind is None:
                raise ProtoError(f"unknown field {number}")
            if not isinstance(value, kind):
                raise ProtoError(f"field {number} has the wrong wire type")
            self._fields.setdefault(number, []).append(value)

    def integer(self, number: int) -> int:
        """A singular varint field; 0 when absent."""
        value = self._one(number, 0)
        assert isinstance(value, int)  # noqa: S101 - the shape was checked; this is for mypy
        return value

    def blob(self, number: int) -> bytes:
        """A singular bytes field; empty when absent."""
        value = self._one(number, b"")
        assert isinstance(value, bytes)  # noqa: S101
        return value

    def blobs(self, number: int) -> list[bytes]:
        """A repeated field of embedded messages."""
        return [value for value in self._fields.get(number, []) if isinstance(value, bytes)]

    def _one(self, number: int, default: int | bytes) -> int | bytes:
        values = self._fields.get(number, [default])
        if len(values) > 1:
            raise ProtoError(f"field {number} is repeated")
        return values[0]


def _read(data: bytes) -> Iterator[tuple[int, int | bytes]]:
    at = 0
    while at < len(data):
        tag, at = _read_varint(data, at)
        number, wire = tag >> 3, tag & 7
        value, at = _read_varint(data, at)
        if wire == _VARINT:
            yield number, value
        elif wire == _BYTES:
            if value > len(data) - at:
                raise ProtoError("a field runs past the end")
            yield number, data[at : at + value]
            at += value
        else:
            raise ProtoError(f"unexpected wire type {wire}")


def _read_varint(data: bytes, at: int) -> tuple[int, int]:
    value = 0
    for count in range(_MAX_VARINT_BYTES):
        if at + count >= len(data):
            raise ProtoError("a number runs past the end")
        byte = data[at + count]
        value |= (byte & 0x7F) << 7 * count
        if byte < 0x80:
            if byte == 0 and count:
                raise ProtoError("a number is longer than it needs to be")
            return value, at + count + 1
    raise ProtoError("a number is too long")
