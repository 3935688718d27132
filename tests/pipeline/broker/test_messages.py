"""What controller and broker, and releaser and clients, say to each other."""

from __future__ import annotations

from typing import Any, get_args

import msgspec
import pytest

from strongroom.audit.events import types as events
from strongroom.audit.events.entries import Event
from strongroom.crypto.digests import sha256
from strongroom.crypto.manifest import WrappedKeyset
from strongroom.enclave.channel import frames
from strongroom.enclave.plan.parts import KeyRefs, LeaseRef
from strongroom.errors import ErrorDocument
from strongroom.pipeline.broker import messages
from strongroom.pipeline.broker.client import ANSWERS
from strongroom.pipeline.broker.process import REQUESTS
from strongroom.pipeline.planning import facts
from strongroom.pipeline.releaser import messages as releaser_messages
from strongroom.pipeline.releaser.client import ANSWERS as RELEASER_ANSWERS
from strongroom.pipeline.releaser.server import REQUESTS as RELEASER_REQUESTS
from support import sample, told

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
EVIDENCE = messages.Evidence(
    role="train",
    assurance="A1",
    measurement="m",
    plan_digest="p",
    nonce="n",
    hpke_key="h",
    signing_key="s",
    probes={"network": "closed"},
    warnings=(),
)
SAMPLES: dict[Any, Any] = {
    int: 3,
    str: "text",
    bytes: b"\x00\xff",
    bytes | None: b"\x00\xff",
    bool: True,
    tuple[str, ...]: ("a.json", "b.json"),
    tuple[messages.StoredVersion, ...]: (
        messages.StoredVersion("a.json", "v1", current=False, deleted=True, etag="", size_bytes=0),
    ),
    tuple[Event, ...]: (told.said(told.ADMITTED), told.said(told.LEASE)),
    events.RolloutsOpened: events.RolloutsOpened(uri="s3://b/k", sha256=told.OTHER),
    events.AdapterExported: told.EXPORTED,
    dict[str, int]: {"a.json": 3},
    dict[str, bytes]: {"train": b"\x00\xff"},
    tuple[ErrorDocument, ...]: (ErrorDocument(code="SR-DATA-001"),),
    tuple[LeaseRef, ...]: (LEASE,),
    messages.Identity: messages.Identity(addr="a", credentials_file="c", oidc_role="o"),
    messages.Assurance: "A1",
    messages.Purpose: "run-read",
    messages.Evidence: EVIDENCE,
    KeyRefs: KeyRefs(data="vault://transit/d", outputs="vault://transit/o", audit="a"),
    facts.KmsFacts: sample.facts().kms,
    messages.Stored | None: messages.Stored(data=b"\x00\xff", etag="tag"),
    facts.BucketFacts: facts.BucketFacts(versioned=True, object_lock=False, lock_days=7),
    frames.Report: frames.StepDone(step=1, values={"loss": 0.5}),
    events.LeaseIssued: events.LeaseIssued(
        lease="0123456789abcdef",
        purpose="run-read",
        role=LEASE.role,
        bucket="acme-data",
        read=LEASE.read,
        create=(),
        ttl_s=900,
        expires_at="2026-01-02T03:04:05.678Z",
    ),
    frames.Command: frames.Verify(dataset="held_out", shard=1),
    WrappedKeyset: KEYSET,
    WrappedKeyset | None: KEYSET,
}
DECODERS: list[tuple[Any, msgspec.json.Decoder[Any]]] = [
    (messages.Request, REQUESTS),
    (messages.Answer, ANSWERS),
    (releaser_messages.Request, RELEASER_REQUESTS),
    (releaser_messages.Answer, RELEASER_ANSWERS),
]


def members(union: Any) -> list[Any]:
    """The types of a union, of which some may be aliases of unions."""
    found = [(each, members(each)) for each in get_args(union)]
    return [kind for each, inner in found for kind in (inner or [each])]


MESSAGES = [(kind, decoder) for union, decoder in DECODERS for kind in members(union)]


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
        field.name: {int: 1, str: "s", bytes: b"b", bool: True}.get(field.type)
        or get_args(field.type)[0]  # the first word of a Literal
        for field in msgspec.structs.fields(command)
    }
    request = messages.Run(command=command(**fields))
    assert REQUESTS.decode(msgspec.json.encode(request)) == request


def test_requests_are_no_answers():
    for _union, decoder in DECODERS[:2]:
        with pytest.raises(msgspec.ValidationError):
            decoder.decode(msgspec.json.encode({"message": "challenge"}))
    with pytest.raises(msgspec.ValidationError):
        ANSWERS.decode(msgspec.json.encode(messages.StopEnclave()))


def test_no_message_to_a_broker_has_a_field_for_a_secret():
    names = {
        field.name
        for kind in (*get_args(messages.Request), messages.Identity, LeaseRef)
        for field in msgspec.structs.fields(kind)
    }
    assert not {name for name in names if "secret" in name or "password" in name or "key" in name}


def test_any_bytes_can_be_passed_on():
    content = bytes(range(256))
    read: Any = messages.Contents(stored=messages.Stored(data=content, etag="tag"))
    assert ANSWERS.decode(msgspec.json.encode(read)) == read
    create = messages.Create(uri="u", purpose="run-create", data=content)
    assert REQUESTS.decode(msgspec.json.encode(create)) == create


@pytest.mark.parametrize("report", get_args(frames.Report))
def test_every_report_of_an_enclave_reaches_the_controller_as_it_is(report):
    samples = SAMPLES | {
        dict[str, float]: {"loss": 0.5},
        tuple[int, ...]: (1, 2),
        frames.Dataset: "held_out",
        frames.Phase: "after",
        frames.Activity: "trial",
        frames.SealedEntry: frames.SealedEntry(
            size_bytes=1, sha256="s", plaintext_sha256="p", header="h"
        ),
        frames.Sha256: sha256(b"manifest"),
    }
    fields = msgspec.structs.fields(report)
    message = messages.Reported(report=report(**{each.name: samples[each.type] for each in fields}))
    assert ANSWERS.decode(msgspec.json.encode(message)) == message


@pytest.mark.parametrize(
    "record", [frames.Fetch(kind="evaluator"), frames.Done(), frames.Failure(code="SR-DATA-001")]
)
def test_what_is_between_enclave_and_broker_stays_there(record):
    message = b'{"message":"reported","report":' + msgspec.json.encode(record) + b"}"
    with pytest.raises(msgspec.ValidationError):
        ANSWERS.decode(message)
