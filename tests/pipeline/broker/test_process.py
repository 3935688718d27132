"""The broker process: real processes and sockets, real refusals, and a real bucket at the end."""

from __future__ import annotations

import os
import select
import signal
import threading
import types
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from strongroom.audit.events import types as events
from strongroom.connectors.access.credentials import S3Credentials
from strongroom.connectors.access.leases import Lease
from strongroom.connectors.access.scopes import Scope
from strongroom.connectors.buckets import leased
from strongroom.connectors.buckets.bucket import Bucket
from strongroom.connectors.buckets.errors import BucketError, ObjectTooLarge
from strongroom.connectors.buckets.facts import BucketFacts
from strongroom.connectors.buckets.open import open_bucket
from strongroom.connectors.buckets.uri import parse
from strongroom.connectors.host.folders import write_private
from strongroom.crypto.digests import sha256
from strongroom.crypto.dsse import key_ref, sign_envelope
from strongroom.crypto.manifest import CHECKPOINT_TYPE
from strongroom.enclave.channel import frames
from strongroom.enclave.channel.errors import ChannelViolation, FrameTooLarge
from strongroom.enclave.channel.framing import MAX_CONTROL_BYTES, Channel, Kind
from strongroom.enclave.plan.document import Plan
from strongroom.enclave.plan.leases import plan_leases
from strongroom.enclave.plan.objects import RunLayout
from strongroom.enclave.plan.parts import LeaseRef
from strongroom.enclave.plan.run_file import NormalisedRun
from strongroom.errors import ErrorList
from strongroom.errors.defect import Defect
from strongroom.pipeline.broker import messages, process
from strongroom.pipeline.broker.client import ANSWERS, BrokerClient
from strongroom.pipeline.broker.errors import BrokerLost, OutputConflict, PurposeRefused
from strongroom.pipeline.broker.objects import RunObjects
from strongroom.pipeline.broker.process import BrokerProcess
from strongroom.pipeline.broker.reach import Reach, create_once
from strongroom.pipeline.planning.plan import build_plan
from strongroom.pipeline.runfile.load import LoadedRun, load
from support import sample

RUN = "s3://acme-data/runs/r/"
IDENTITY = messages.Identity(addr="http://127.0.0.1:9", credentials_file="/none", oidc_role="x")


def lease(purpose: Any, read: tuple[str, ...] = (), create: tuple[str, ...] = ()) -> LeaseRef:
    return LeaseRef(
        purpose=purpose,
        bucket="s3://acme-data",
        role="arn:aws:iam::000000000000:role/strongroom",
        read=read,
        create=create,
        ttl_s=900,
        endpoint="http://127.0.0.1:9",
    )


CONFIGURE = messages.Configure(
    run="r",
    identity=IDENTITY,
    leases=(
        lease("data-read", read=("datasets/feedback/train/", "models/tiny/")),
        lease("run-read", read=("runs/r/",)),
        lease("run-create", create=("runs/r/",)),
    ),
)


# ---- what a broker reaches ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("endpoint", "meant"),
    [
        ("https://s3.eu-central-1.amazonaws.com", (None, "eu-central-1")),
        ("http://127.0.0.1:9", ("http://127.0.0.1:9", "us-east-1")),
    ],
)
def test_bucket_facts_and_token_service_are_those_of_the_endpoint(
    tmp_path, monkeypatch, endpoint, meant
):
    asked = {}

    class Leaser:
        def __init__(self, token: Any, endpoint: Any, role: str, name: str, region: str) -> None:
            asked["leaser"] = endpoint, region

        def lease(self, *_: object) -> Any:
            return types.SimpleNamespace(credentials=None)

    def facts(_: object, __: object, endpoint: Any, region: str) -> BucketFacts:
        asked["facts"] = endpoint, region
        return BucketFacts(unknown={"versioned": "AccessDenied"})

    def opened(_: object, *, credentials: object, endpoint: Any, region: str) -> None:
        asked["bucket"] = endpoint, region

    monkeypatch.setattr(leased, "WebIdentityLeaser", Leaser)
    monkeypatch.setattr("strongroom.pipeline.broker.reach.bucket_facts", facts)
    monkeypatch.setattr(leased, "open_bucket", opened)
    ref = msgspec.structs.replace(lease("run-read", read=("runs/r/",)), endpoint=endpoint)
    path = tmp_path / "broker.json"
    write_private(path, b'{"addr":"http://127.0.0.1:9","role_id":"r","secret_id":"s"}')
    identity = msgspec.structs.replace(IDENTITY, credentials_file=str(path))
    told = msgspec.structs.replace(CONFIGURE, identity=identity, leases=(ref,))
    reach = Reach(told, lambda _: None)
    found = reach.facts("run-read", RUN)
    assert (found.versioned, found.object_lock) == (False, False), "what is unknown is not given"
    assert (found.lock_mode, found.lock_days, found.region, found.encryption) == (None,) * 4
    assert asked == dict.fromkeys(("leaser", "facts", "bucket"), meant)


@pytest.mark.parametrize(
    ("purpose", "uri"),
    [
        ("run-read", "s3://acme-data/runs/r2/plan.json"),
        ("run-read", "s3://acme-data/runs/r"),
        ("run-read", "s3://acme-data/runs/"),
        ("run-read", "s3://acme-data/datasets/feedback/train/manifest.json"),
        ("run-read", "s3://other/runs/r/plan.json"),
        ("run-read", "s3://acme-data-2/runs/r/plan.json"),
        ("run-read", "gs://acme-data/runs/r/plan.json"),
        ("data-read", RUN + "plan.json"),
        ("data-read", "s3://acme-data/datasets/feedback/train-2/manifest.json"),
        ("data-read", "s3://acme-data/datasets/feedback/held-out/manifest.json"),
        ("audit-append", "s3://acme-audit/strongroom/checkpoint"),
        ("everything", RUN + "plan.json"),
        ("", RUN + "plan.json"),
    ],
)
def test_nothing_outside_the_scope_is_reached(purpose, uri):
    issued: list[Any] = []
    reach = Reach(CONFIGURE, issued.append)
    for ask in (reach.bucket, reach.facts):
        with pytest.raises(PurposeRefused) as caught:
            ask(purpose, uri)
        assert caught.value.place == uri
    assert issued == []


@pytest.mark.parametrize("tail", ["../r2/plan.json", "..", "a//b", "a/./b", "*", "a?b", "a\n"])
def test_a_name_that_could_mean_another_object_is_refused(tail):
    """Before a lease is asked for: with one, this would be the key service's own error."""
    with pytest.raises(BucketError, match="SR-BUCKET"):
        Reach(CONFIGURE, lambda _: None).bucket("run-read", RUN + tail)


def test_inside_the_scope_a_lease_is_asked_for():
    with pytest.raises(Exception, match="SR-") as caught:
        Reach(CONFIGURE, lambda _: None).bucket("run-read", RUN + "plan.json")
    assert not isinstance(caught.value, PurposeRefused)


class LocalReach:
    """A reach whose buckets are one folder; notes what it was asked."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.asked: list[tuple[str, str]] = []
        (folder / "bucket").mkdir(parents=True)

    def key(self, uri: str) -> str:
        return parse(f"local://{self.folder}/bucket/" + uri.partition("://")[2]).key

    @property
    def store(self) -> Bucket:
        return open_bucket(parse(f"local://{self.folder}/bucket/"))

    def bucket(self, purpose: str, uri: str) -> tuple[Bucket, str]:
        self.asked.append((purpose, uri))
        return self.store, self.key(uri)

    def put(self, uri: str, data: bytes) -> None:
        self.store.create(self.key(uri), data)

    def get(self, uri: str) -> bytes:
        return self.store.get(self.key(uri))[0]


@pytest.fixture
def reach(tmp_path: Path) -> LocalReach:
    return LocalReach(tmp_path / "store")


@pytest.fixture
def plan(load_example: Callable[..., LoadedRun], example: str) -> Plan:
    return build_plan(load_example(example).spec, sample.facts(), "r")


@pytest.fixture
def objects(reach: Any, plan: Plan) -> RunObjects:
    return RunObjects(reach, plan)


@pytest.mark.parametrize(
    ("kind", "name"),
    [("evaluator", "shard-00000.sealed"), ("evaluator_manifest", "manifest.json")],
)
def test_an_enclave_gets_a_sealed_evaluator_from_where_it_lies(reach, plan, kind, name):
    uri = "s3://acme-data/evaluators/x/"
    sealed = msgspec.structs.replace(plan.data.train, uri=uri)
    evaluator = msgspec.structs.replace(plan.evaluator, sealed=sealed)
    objects = RunObjects(reach, msgspec.structs.replace(plan, evaluator=evaluator))
    reach.put(uri + name, b"sealed")
    assert b"".join(objects.fetch(frames.Fetch(kind=kind))) == b"sealed"
    assert reach.asked == [("data-read", uri + name)]


def test_an_evaluator_that_is_given_along_is_not_fetched(reach, plan):
    objects = RunObjects(reach, plan, b"source")
    assert b"".join(objects.fetch(frames.Fetch(kind="evaluator"))) == b"source"
    assert reach.asked == []


DATASETS = "s3://acme-data/datasets/feedback/"
MODEL = "s3://acme-data/models/smollm2-135m-instruct/"


@pytest.mark.parametrize(
    ("request_", "purpose", "uri"),
    [
        (frames.Fetch(kind="model", index=1), "data-read", MODEL + "model.safetensors"),
        (frames.Fetch(kind="evaluator"), "run-read", RUN + "evaluator.py"),
        (frames.Fetch(kind="manifest"), "data-read", DATASETS + "train/manifest.json"),
        (
            frames.Fetch(kind="manifest", dataset="held_out"),
            "data-read",
            DATASETS + "held-out/manifest.json",
        ),
        (
            frames.Fetch(kind="shard", index=2),
            "data-read",
            DATASETS + "train/shard-00002.sealed",
        ),
        (
            frames.Fetch(kind="shard", dataset="held_out"),
            "data-read",
            DATASETS + "held-out/shard-00000.sealed",
        ),
        (
            frames.Fetch(kind="artifact", index=20, artifact="state"),
            "run-read",
            RUN + "checkpoints/000020/state.sealed",
        ),
    ],
)
def test_an_enclave_gets_the_objects_of_its_plan(reach, objects, request_, purpose, uri):
    content = bytes(range(256)) * 10_000
    reach.put(uri, content)
    pieces = [bytes(piece) for piece in objects.fetch(request_)]
    assert b"".join(pieces) == content
    assert len(pieces) == 3
    assert reach.asked == [(purpose, uri)]


@pytest.mark.parametrize(
    "request_",
    [
        frames.Fetch(kind="model", index=2),
        frames.Fetch(kind="shard", index=3),
        frames.Fetch(kind="shard", dataset="held_out", index=1),
        frames.Fetch(kind="artifact", index=20, artifact="shard"),
    ],
)
def test_an_enclave_gets_no_other_object(reach, objects, request_):
    with pytest.raises(ChannelViolation):
        list(objects.fetch(request_))
    assert reach.asked == []


def test_what_is_written_twice_alike_is_written_once(reach, objects):
    uri = RUN + "checkpoints/000020/adapter.sealed"
    for _ in range(2):
        objects.put("adapter", 20, b"sealed")
    assert reach.get(uri) == b"sealed"
    assert reach.asked == [("run-create", uri), ("run-create", uri), ("run-read", uri)]


@pytest.mark.parametrize("other", [b"", b"sealeD", b"sealed and more", bytes(2 << 20)])
def test_what_is_there_is_never_replaced(reach, objects, other):
    objects.put("adapter", 20, b"sealed")
    with pytest.raises(Exception, match="SR-") as caught:
        objects.put("adapter", 20, other)
    if len(other) < 1 << 20:
        assert isinstance(caught.value, OutputConflict)
    assert reach.get(RUN + "checkpoints/000020/adapter.sealed") == b"sealed"


def signed(payload: bytes) -> bytes:
    """A checkpoint's manifest by an enclave of its own."""
    key = Ed25519PrivateKey.generate()
    signer = key_ref(key.public_key().public_bytes_raw())
    return sign_envelope(CHECKPOINT_TYPE, payload, signer, key.sign)


def test_a_checkpoints_first_manifest_stays(reach, objects):
    """An earlier enclave of the run wrote it, under its own key, and was killed before the log."""
    earlier, later = signed(b"the objects"), signed(b"the objects")
    assert earlier != later
    first = objects.put_manifest(20, earlier)
    assert objects.put_manifest(20, later) == first
    assert reach.get(RUN + "checkpoints/000020/manifest.json") == earlier
    assert objects.put_manifest(40, later) == sha256(later)


def forged(ours: bytes) -> bytes:
    """Our payload under another's signature, which claims to be ours."""
    envelope = msgspec.json.decode(ours)
    envelope["signatures"][0]["sig"] = msgspec.json.decode(signed(b""))["signatures"][0]["sig"]
    return msgspec.json.encode(envelope)


PLANTED: dict[str, Callable[[bytes], bytes]] = {
    "other objects": lambda _ours: signed(b"other objects"),
    "unsigned": lambda ours: msgspec.json.encode({**msgspec.json.decode(ours), "signatures": []}),
    "forged": forged,
    "text": lambda _ours: b"planted",
    "empty": lambda _ours: b"",
    "deep": lambda _ours: b"[" * 100_000,
}


@pytest.mark.parametrize("kind", PLANTED)
def test_a_planted_manifest_is_not_adopted(reach, objects, kind):
    uri = RUN + "checkpoints/000020/manifest.json"
    ours = signed(b"the objects")
    planted = PLANTED[kind](ours)
    reach.put(uri, planted)
    with pytest.raises(OutputConflict) as caught:
        objects.put_manifest(20, ours)
    assert caught.value.place == uri
    assert caught.value.actual == sha256(planted)
    assert reach.get(uri) == planted


def test_creating_once(reach):
    assert create_once(reach, RUN + "a", b"one") is None
    assert create_once(reach, RUN + "a", b"two") == b"one"


# ---- requests, in this process -----------------------------------------------------------------


@pytest.fixture
def in_parts(reach: LocalReach) -> Iterator[Callable[[messages.Request], list[Any]]]:
    """Asks a broker that runs in a thread, over ``reach``; the parts of its answer, if any, and
    the reply."""
    ours, theirs = Channel.pair()
    broker = BrokerProcess(Channel(theirs, "controller"))
    broker._reach = reach  # type: ignore[assignment]
    thread = threading.Thread(target=broker.serve)
    thread.start()
    channel = Channel(ours, "broker")

    def ask(request: messages.Request) -> list[Any]:
        channel.send_record(request)
        answers = [channel.recv_record(ANSWERS)]
        while isinstance(answers[-1], messages.Piece | messages.Page):
            answers.append(channel.recv_record(ANSWERS))
        return answers

    yield ask
    channel.close()
    thread.join(10)
    assert not thread.is_alive()


@pytest.fixture
def asked(in_parts: Callable[[messages.Request], list[Any]]) -> Callable[[messages.Request], Any]:
    """The reply alone."""
    return lambda request: in_parts(request)[-1]


def test_control_objects(reach, asked):
    uri = RUN + "plan.json"
    read = messages.Read(uri=uri, purpose="run-read")
    assert asked(read) == messages.Contents(stored=None)
    assert asked(messages.Create(uri=uri, purpose="run-create", data=b"one")).written is True
    assert asked(messages.Create(uri=uri, purpose="run-create", data=b"two")).written is False
    found = asked(read).stored
    assert found.data == b"one"
    swap = messages.Replace(uri=uri, purpose="run-create", data=b"three", etag=found.etag)
    assert asked(swap).written is True
    assert asked(swap).written is False
    gone = msgspec.structs.replace(swap, uri=RUN + "nothing")
    assert asked(gone).written is False
    assert asked(read).stored.data == b"three"
    assert {purpose for purpose, _ in reach.asked} == {"run-read", "run-create"}


@pytest.mark.parametrize("size", [MAX_CONTROL_BYTES + 1, 5 << 20])
def test_a_control_object_that_is_too_large_is_refused_and_the_broker_goes_on(reach, asked, size):
    uri = RUN + "plan.json"
    reach.put(uri, b"x" * size)
    answer = asked(messages.Read(uri=uri, purpose="run-read"))
    assert isinstance(answer, messages.Refused)
    assert [error.code for error in answer.errors] == [ObjectTooLarge.code]
    largest = RUN + "result.json"
    reach.put(largest, b"x" * MAX_CONTROL_BYTES)
    found = asked(messages.Read(uri=largest, purpose="run-read")).stored
    assert len(found.data) == MAX_CONTROL_BYTES


def test_a_list_that_is_too_long_is_refused_and_the_broker_goes_on(reach, asked, monkeypatch):
    found = [types.SimpleNamespace(key=f"runs/r/{n:0200}", size_bytes=n) for n in range(25_000)]
    many = types.SimpleNamespace(list=lambda _key: found)
    with monkeypatch.context() as patched:
        patched.setattr(reach, "bucket", lambda _purpose, _uri: (many, "runs/r/"))
        answer = asked(messages.Sizes(uri=RUN, purpose="run-read"))
    assert isinstance(answer, messages.Refused)
    assert [error.code for error in answer.errors] == [FrameTooLarge.code]
    assert asked(messages.Sizes(uri=RUN, purpose="run-read")).sizes == {}


@pytest.mark.parametrize(
    "request_",
    [
        messages.Read(uri=RUN + "checkpoints/000020/adapter.sealed", purpose="run-read"),
        messages.Read(uri=DATASETS + "train/shard-00000.sealed", purpose="data-read"),
        messages.Create(uri=RUN + "x.sealed", purpose="run-create", data=b""),
        messages.Replace(uri=RUN + "x.sealed", purpose="run-create", data=b"", etag=""),
    ],
)
def test_sealed_objects_are_no_control_objects(reach, asked, request_):
    """There, and in scope: the controller still does not get them."""
    reach.put(request_.uri, b"sealed bytes")
    answer = asked(request_)
    assert isinstance(answer, messages.Refused)
    assert answer.errors[0].code == PurposeRefused.code
    assert reach.asked == []
    assert reach.get(request_.uri) == b"sealed bytes"


def test_sizes_tell_names_below_the_prefix(reach, asked):
    for name, size in (("a.json", 3), ("deeper/b.sealed", 4)):
        reach.put(RUN + name, bytes(size))
    reach.put("s3://acme-data/runs/r2/c", b"x")
    answer = asked(messages.Sizes(uri=RUN, purpose="run-read"))
    assert answer.sizes == {"a.json": 3, "deeper/b.sealed": 4}


def test_many_objects_are_read_at_once_and_come_in_pieces(reach, in_parts, monkeypatch):
    monkeypatch.setattr(process, "PIECE_BYTES", 2)
    for name, data in (("a.json", b"a"), ("empty.json", b""), ("large.json", b"abcde")):
        reach.put(RUN + name, data)
    names = ("large.json", "none.json", "a.json", "empty.json", "a.json")
    uris = tuple(RUN + name for name in names)
    *pieces, done = in_parts(messages.ReadMany(uris=uris, purpose="run-read"))
    assert [(piece.index, piece.data) for piece in pieces] == [
        *((0, b"ab"), (0, b"cd"), (0, b"e")),
        (1, None),
        (2, b"a"),
        (3, b""),
        (4, b"a"),
    ]
    assert done == messages.Done()
    assert in_parts(messages.ReadMany(uris=(), purpose="run-read")) == [messages.Done()]


def test_a_version_is_read_as_it_was_or_not_at_all(reach, asked):
    reach.put(RUN + "a.json", b"a")
    for version, data in (("", b"a"), ("gone", None)):
        answer = asked(
            messages.ReadVersion(uri=RUN + "a.json", purpose="run-read", version=version)
        )
        assert (answer.stored.data if answer.stored else None) == data
    none = messages.ReadVersion(uri=RUN + "none.json", purpose="run-read", version="")
    assert asked(none) == messages.Contents(stored=None)


def test_versions_are_told_by_page(reach, in_parts, monkeypatch):
    monkeypatch.setattr(process, "VERSIONS_A_PAGE", 2)
    for name in ("a.json", "b.json", "deeper/c.sealed"):
        reach.put(RUN + name, name.encode())
    *pages, done = in_parts(messages.Versions(uri=RUN, purpose="run-read"))
    assert done == messages.Done()
    assert [len(page.versions) for page in pages] == [2, 1]
    found = [each for page in pages for each in page.versions]
    assert [(each.name, each.current, each.deleted, each.size_bytes) for each in found] == [
        ("a.json", True, False, 6),
        ("b.json", True, False, 6),
        ("deeper/c.sealed", True, False, 15),
    ]


def test_a_defect_tells_no_text(reach, asked, monkeypatch):
    def fail(*_: object) -> None:
        raise ValueError("secret key 1234")

    monkeypatch.setattr(reach, "bucket", fail)
    answer = asked(messages.Read(uri=RUN + "plan.json", purpose="run-read"))
    assert isinstance(answer, messages.Refused)
    assert answer.errors[0].code == Defect.code
    assert "1234" not in str(answer)


def test_several_errors_are_refused_together(reach, asked, monkeypatch):
    def fail(*_: object) -> None:
        raise ErrorList([PurposeRefused(place="a"), PurposeRefused(place="b")])

    monkeypatch.setattr(reach, "bucket", fail)
    answer = asked(messages.Read(uri=RUN + "plan.json", purpose="run-read"))
    assert [error.place for error in answer.errors] == ["a", "b"]


class Issuer:
    """A token service's clock."""

    def __call__(self) -> S3Credentials:
        return S3Credentials("access", "secret", "token", datetime.now(UTC) + timedelta(hours=1))


def test_a_lease_that_another_thread_renews_is_told_with_the_next_reply(reach):
    """Controls: nothing is written by that thread itself, and nothing is told where none is new."""
    ours, theirs = Channel.pair()
    broker = BrokerProcess(Channel(theirs, "controller"))
    broker._reach = reach
    held = Lease("data-read", Scope(bucket="acme-data", read=("a/",)), 3600, "role", Issuer())
    first = held.expires_at
    held.on_renewal = broker._lease_issued
    prefetch = threading.Thread(target=held._renew)
    prefetch.start()
    prefetch.join(10)
    readable, _, _ = select.select([ours], [], [], 0.2)
    assert readable == []
    thread = threading.Thread(target=broker.serve)
    thread.start()
    channel = Channel(ours, "broker")
    read = messages.Read(uri=RUN + "plan.json", purpose="run-read")
    channel.send_record(read)
    told = channel.recv_record(ANSWERS)
    assert isinstance(told, messages.Leased)
    assert told.lease.lease == held.lease_id
    expires = held.expires_at.isoformat(timespec="milliseconds")
    assert told.lease.expires_at == expires.removesuffix("+00:00") + "Z"
    assert held.expires_at > first
    assert channel.recv_record(ANSWERS) == messages.Contents(stored=None)
    channel.send_record(read)
    assert channel.recv_record(ANSWERS) == messages.Contents(stored=None)
    channel.close()
    thread.join(10)
    assert not thread.is_alive()


# ---- a real process ----------------------------------------------------------------------------


@pytest.fixture
def broker() -> Iterator[tuple[BrokerClient, list[events.LeaseIssued]]]:
    heard: list[Any] = []
    client = BrokerClient(heard.append, heard.append)
    yield client, heard
    client.close()


def test_an_unconfigured_broker_refuses_everything(broker):
    client, heard = broker
    uri = RUN + "plan.json"
    for ask in (
        lambda: client.read(uri, "run-read"),
        lambda: client.read_many([uri], "run-read"),
        lambda: client.read_version(uri, "run-read", "v"),
        lambda: client.versions(RUN, "run-read"),
        lambda: client.create(uri, "run-create", b""),
        lambda: client.replace(uri, "run-create", b"", ""),
        lambda: client.sizes(RUN, "run-read"),
        lambda: client.facts(RUN, "run-read"),
        lambda: client.give_keys(b""),
        lambda: client.command(frames.Train(from_step=0, to_step=1)),
    ):
        with pytest.raises(PurposeRefused):
            ask()
    client.stop_enclave()
    assert heard == []


def test_a_configured_broker_refuses_what_is_outside(broker):
    client, heard = broker
    client.configure(CONFIGURE)
    for uri in ("s3://acme-data/runs/r2/plan.json", RUN + "x.sealed"):
        for ask in (
            lambda uri: client.read(uri, "run-read"),
            lambda uri: client.read_many([uri], "run-read"),
            lambda uri: client.read_version(uri, "run-read", "v"),
        ):
            with pytest.raises(PurposeRefused) as caught:
                ask(uri)
            assert caught.value.place == uri
    with pytest.raises(PurposeRefused):
        client.versions("s3://acme-data/runs/r2/", "run-read")
    assert heard == []


def test_a_broker_without_an_identity_says_so(broker):
    client, _ = broker
    client.configure(CONFIGURE)
    with pytest.raises(Exception, match="SR-") as caught:
        client.read(RUN + "plan.json", "run-read")
    assert not isinstance(caught.value, Defect)
    assert "/none" in str(caught.value)


def test_a_killed_broker_is_told(broker):
    client, _ = broker
    os.kill(client.pid, signal.SIGKILL)
    with pytest.raises(BrokerLost) as caught:
        client.stop_enclave()
    assert caught.value.actual == "signal 9"


def test_a_reply_of_another_kind_is_refused(broker):
    client, _ = broker
    with pytest.raises(ChannelViolation) as caught:
        client._ask(messages.StopEnclave(), messages.Started)
    assert (caught.value.expected, caught.value.actual) == ("Started", "Done")


@pytest.mark.parametrize("payload", [b"hello", b'{"message":"delete","uri":"x"}'])
def test_a_broker_ends_at_what_it_does_not_understand(broker, payload):
    client, _ = broker
    client._channel.send(Kind.RECORD, payload)
    with pytest.raises(BrokerLost) as caught:
        client.stop_enclave()
    assert caught.value.actual == "exit status 1"


def test_closing_ends_the_process(broker):
    client, _ = broker
    client.stop_enclave()
    client.close()
    assert client._process.returncode == 0


def test_a_broker_holds_one_descriptor(broker):
    client, _ = broker
    client.stop_enclave()
    links = [str(entry.readlink()) for entry in Path(f"/proc/{client.pid}/fd").iterdir()]
    assert sum("socket" in link for link in links) == 1
    assert {link for link in links if link.startswith("/dev")} == {"/dev/null"}


# ---- a real bucket -----------------------------------------------------------------------------


def real(small_job: Any) -> tuple[messages.Configure, RunLayout]:
    """What a broker of a run on the real stack is told."""
    stack = small_job.stack
    spec = load(small_job.run_file("broker"), stack=stack.variables()).spec
    run = RunLayout(spec.spec.outputs, "broker-test")
    identity = messages.Identity(
        addr=stack.info.vault_addr,
        credentials_file=stack.info.identities["broker"],
        oidc_role=stack.info.oidc_roles["broker"],
    )
    leases = plan_leases(NormalisedRun.of(spec.normalised()), run)
    return messages.Configure(run="broker-test", identity=identity, leases=leases), run


def test_a_real_lease_is_told_when_it_is_taken_and_when_it_is_renewed(small_job):
    told: list[Lease] = []
    configure, run = real(small_job)
    reach = Reach(configure, told.append)
    reach.bucket("run-read", run.plan)
    reach.bucket("run-read", run.plan)
    [held] = told
    held._renew()
    assert told == [held, held]


def test_the_real_bucket(small_job, broker):
    """Leases are taken when needed, told, and hold no more than their purpose."""
    client, heard = broker
    configure, run = real(small_job)
    client.configure(configure)
    assert heard == []

    manifest = client.read(small_job.train + "manifest.json", "data-read")
    assert manifest is not None
    assert b"payload" in manifest.data
    [held] = heard
    assert (held.purpose, held.create, held.ttl_s) == ("data-read", (), 900)
    client.sizes(small_job.train, "data-read")
    assert len(heard) == 1

    assert client.create(run.plan, "run-create", b"{}") is True
    assert client.create(run.plan, "run-create", b"{}") is False
    found = client.read(run.plan, "run-read")
    assert found is not None
    assert found.data == b"{}"
    assert client.facts(run.folder, "run-read").versioned is True
    assert client.read_many([run.plan, run.folder + "none.json"], "run-read") == [b"{}", None]
    assert [lease.purpose for lease in heard] == ["data-read", "run-create", "run-read"]

    # In scope by name for the broker, and refused by the bucket: the lease is narrower still.
    with pytest.raises(BucketError, match="SR-BUCKET"):
        client.read(run.plan, "run-create")
    with pytest.raises(BucketError, match="SR-BUCKET"):
        client.create(run.folder + "more.json", "run-read", b"{}")


def test_a_run_s_broker_reads_the_log_with_its_history_and_cannot_write_there(small_job, broker):
    client, heard = broker
    configure, _run = real(small_job)
    client.configure(configure)
    log = "s3://acme-audit/strongroom/"
    found = [each for each in client.versions(log, "audit-read") if each.name == "checkpoint"]
    assert len(found) > 1
    assert [each.current for each in found] == [True] + [False] * (len(found) - 1)
    notes = [client.read_version(log + "checkpoint", "audit-read", v.version) for v in found]
    sizes = [int(note.split(b"\n")[1]) for note in notes if note]
    assert sizes == sorted(set(sizes), reverse=True)
    assert client.read_version(log + "checkpoint", "audit-read", "0" * 32) is None
    [bundle, none] = client.read_many([log + "next/0", log + "none"], "audit-read")
    assert bundle
    assert none is None
    assert {(lease.purpose, lease.create) for lease in heard} == {("audit-read", ())}
    with pytest.raises(PurposeRefused):
        client.create(log + "planted", "audit-append", b"{}")
    with pytest.raises(BucketError, match="SR-BUCKET"):
        Planter(configure).plant(log + "planted")


class Planter:
    """A broker that lies to itself about what its lease is for."""

    def __init__(self, configure: messages.Configure) -> None:
        self._reach = Reach(configure, lambda _: None)

    def plant(self, uri: str) -> None:
        bucket, key = self._reach.bucket("audit-read", uri)
        bucket.create(key, b"{}")
