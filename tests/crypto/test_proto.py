"""The protobuf reader agrees with protobuf where it accepts, and accepts one reading only."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tink.proto import tink_pb2

from strongroom.crypto import proto


@given(st.integers(0, (1 << 32) - 1), st.binary(max_size=300))
def test_fields_read_back_and_agree_with_protobuf(number, blob):
    data = proto.integer_field(1, number) + proto.bytes_field(2, proto.bytes_field(1, blob))
    message = proto.Message(data, {1: int, 2: bytes})
    assert message.integer(1) == number
    assert proto.Message(message.blobs(2)[0], {1: bytes}).blob(1) == blob
    key_data = tink_pb2.KeyData(value=blob, key_material_type=1)
    ours = proto.bytes_field(2, blob) if blob else b""
    assert ours + proto.integer_field(3, 1) == key_data.SerializeToString()


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"\x08", "past the end"),
        (b"\x08\x80", "past the end"),
        (b"\x12\x05ab", "past the end"),
        (b"\x08\x81\x00", "longer than it needs"),
        (b"\x08" + b"\xff" * 11, "too long"),
        (b"\x18\x01", "unknown field 3"),
        (b"\x10\x01", "wrong wire type"),
        (b"\x0a\x01a", "wrong wire type"),
        (b"\x0d\x00\x00\x00\x00", "wire type 5"),
        (b"\x0b\x01", "wire type 3"),
    ],
)
def test_what_is_refused(data, why):
    with pytest.raises(proto.ProtoError, match=why):
        proto.Message(data, {1: int, 2: bytes})


def test_a_repeated_singular_field_is_refused():
    """Protobuf takes the last one, other readers the first."""
    message = proto.Message(proto.integer_field(1, 1) + proto.integer_field(1, 2), {1: int})
    with pytest.raises(proto.ProtoError, match="repeated"):
        message.integer(1)
