"""What controller and broker, and releaser and clients, say to each other."""

from __future__ import annotations

from typing import Any, get_args

import msgspec
import pytest

from strongroom.crypto.digests import sha256
from strongroom.crypto.manifest import WrappedKeyset
from strongroom.enclave.channel import frames
from strongroom.pipeline.broker import messages as rpc
from strongroom.pipeline.broker.client import ANSWERS
from strongroom.pipeline.broker.process import REQUESTS
from strongroom.pipeline.planning.parts import LeaseRef
from strongroom.pipeline.releaser import messages as releaser_rpc
from strongroom.pipeline.releaser.client import ANSWERS as RELEASER_ANSWERS
from strongroom.pipeline.releaser.server import REQUESTS as RELEASER_REQUESTS

LEASE = LeaseRef(
    purpose="run-read",
    bucket="s3://acme-data",
    role="arn:aws:iam::000000000000:role/strongroom",
    read=("runs/r/",),
    create=(),
    ttl_s=900,
    endpoint=None,
)
KEYSET = WrappedKeyset(
    kms="vault://transit/k", context={"run": "r"}, wrapped="w", key_id=5, commitment=sha256(b"k")
)
SAMPLES: dict[Any, Any] = {
    int: 3,
    str: "text",
    bytes: b"\x00\xff",
    Any: {"nested": [1, None, "x"]},
    dict[str, Any]: {"step": 1},
    dict[str, bytes]: {"train": b"\x00\xff"},
    tuple[dict[str, str], ...]: ({"code": "SR-DATA-001"},),
    tuple[LeaseRef, ...]: (LEASE,),
    rpc.Identity: rpc.Identity(addr="a", credentials_file="c", oidc_role="o"),
    rpc.Assurance: "A1",
    frames.Command: frames.Verify(dataset="held_out", shard=1),
    WrappedKeyset: KEYSET,
    WrappedKeyset | None: KEYSET,
}
DECODERS: list[tuple[Any, msgspec.json.Decoder[Any]]] = [
    (rpc.Request, REQUESTS),
    (rpc.Answer, ANSWERS),
    (releaser_rpc.Request, RELEASER_REQUESTS),
    (releaser_rpc.Answer, RELEASER_ANSWERS),
]
MESSAGES = [(kind, decoder) for union, decoder in DECODERS for kind in get_args(union)]


def example(kind: type[msgspec.Struct]) -> msgspec.Struct:
    fields = msgspec.structs.fields(kind)
    return kind(**{field.name: SAMPLES[field.type] for field in fields})


@pytest.mark.parametrize(("kind", "decoder"), MESSAGES)
def test_messages_round_trip(kind, decoder):
    message = example(kind)
    assert decoder.decode(msgspec.json.encode(message)) == message


@pytest.mark.parametrize(("kind", "decoder"), MESSAGES)
def test_messages_have_room_for_nothing_else(kind, decoder):
    more = msgspec.to_builtins(example(kind)) | {"secret": "hello"}
    with pytest.raises(msgspec.ValidationError):
        decoder.decode(msgspec.json.encode(more))


@pytest.mark.parametrize("command", get_args(frames.Command))
def test_every_command_of_an_enclave_can_be_passed_on(command):
    fields = {
        field.name: {int: 1, str: "s", bytes: b"b"}.get(field.type)
        or get_args(field.type)[0]  # the first word of a Literal
        for field in msgspec.structs.fields(command)
    }
    request = rpc.Run(command=command(**fields))
    assert REQUESTS.decode(msgspec.json.encode(request)) == request


def test_requests_are_no_answers():
    for _union, decoder in DECODERS[:2]:
        with pytest.raises(msgspec.ValidationError):
            decoder.decode(msgspec.json.encode({"message": "challenge"}))
    with pytest.raises(msgspec.ValidationError):
        ANSWERS.decode(msgspec.json.encode(rpc.StopEnclave()))


def test_no_message_to_a_broker_has_a_field_for_a_secret():
    names = {
        field.name
        for kind in (*get_args(rpc.Request), rpc.Identity, LeaseRef)
        for field in msgspec.structs.fields(kind)
    }
    assert not {name for name in names if "secret" in name or "password" in name or "key" in name}


def test_any_bytes_can_be_passed_on():
    content = bytes(range(256))
    for message in (rpc.Reply(data=content), rpc.Create(uri="u", purpose="p", data=content)):
        decoder = ANSWERS if isinstance(message, rpc.Reply) else REQUESTS
        decoded: Any = decoder.decode(msgspec.json.encode(message))
        assert decoded.data == content
