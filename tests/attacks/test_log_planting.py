"""Whoever wants something in the audit log that did not happen: by its bucket, and by its notary.

The thief of the log's own lease may write every object of the log; what the releaser remembers
decides what is in it. A run's leases cannot write there at all. And who asks the releaser to take
an event in must be one who may say it, now. Each attack succeeds where its defence is off.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest
from botocore.exceptions import ClientError

from strongroom.audit.events import order, types
from strongroom.audit.events.entries import RELEASER, Event, from_entry, to_entry
from strongroom.audit.log.copy import LogCopy
from strongroom.audit.log.errors import EventRefused, LogOfAnotherReleaser, LogRolledBack
from strongroom.audit.log.note import LogKey
from strongroom.audit.log.sequencer import Sequencer
from strongroom.audit.log.tlog import Edge, claim_path, encode_bundle, tile_path
from strongroom.audit.log.verify import Check, check_log, read_log
from strongroom.connectors.access.errors import LeaseRefused
from strongroom.connectors.access.leases import WebIdentityLeaser
from strongroom.connectors.access.scopes import Scope
from strongroom.connectors.keys.open import open_kms
from strongroom.enclave.plan.parts import LeaseRef
from strongroom.pipeline.broker import messages as broker_messages
from strongroom.pipeline.broker.client import BrokerClient
from strongroom.pipeline.broker.log import BrokerLog, log_origin
from strongroom.pipeline.releaser import messages
from strongroom.pipeline.releaser.config import LogSettings
from strongroom.pipeline.releaser.log_store import LeasedLog
from strongroom.pipeline.releaser.notary import Notary
from strongroom.pipeline.releaser.releaser import Releaser
from support import told
from support.kept_log import KeptLog
from support.releasers import settings
from support.told import AFTER_KEYS, BEFORE_KEYS, EXPORTED, LEASE, RELEASED, said, step

BUCKET = "acme-audit"
USER, ANOTHER = "uid:1000", "uid:1001"


def false_event(data: types.EventData, caller: str = RELEASER) -> bytes:
    """The entry of something that never happened, as the releaser would have written it."""
    return to_entry(msgspec.structs.replace(said(data), caller=caller))


# ---- the bucket ----------------------------------------------------------------------------------


@dataclass
class Bucket:
    """A log in a folder of its own on the real stack: its notary, its thief, and its auditor."""

    prefix: str
    key: LogKey
    store: LeasedLog
    reader: BrokerLog
    memory: LogCopy
    notary: Notary
    sequencer: Sequencer
    thief: Any

    @property
    def origin(self) -> str:
        return self.key.name

    def plant(self, name: str, data: bytes) -> None:
        """Write over whatever is there, with the log's own lease."""
        self.thief.put_object(Bucket=BUCKET, Key=self.prefix + name, Body=data)

    def begin(self) -> None:
        """A run up to its first step."""
        self.notary.take([said(data) for data in BEFORE_KEYS], USER)
        self.notary.say("r", RELEASED)
        self.notary.take([said(step(1))], USER)

    def go_on(self) -> None:
        """The run's next honest words."""
        for data in AFTER_KEYS[1:]:
            self.notary.take([said(data)], USER)

    def events(self) -> list[Event]:
        view = read_log(self.reader, self.key.vkey(), self.origin)
        found = [from_entry(entry) for entry in view.entries]
        return [event for event in found if event.run == "r"]

    def check(self) -> list[Check]:
        rows, _ = check_log(self.reader, self.key.vkey(), self.origin)
        return rows

    def failures(self) -> list[tuple[str, str]]:
        return [(row.object, row.detail) for row in self.check() if not row.ok]

    def noted(self) -> set[str]:
        """What the check names, though nothing of the log is wrong."""
        return {row.object for row in self.check() if row.noted}

    def is_the_honest_run(self) -> bool:
        honest = [*BEFORE_KEYS, RELEASED, *AFTER_KEYS]
        return [event.data for event in self.events()] == honest


@pytest.fixture
def bucket(embedded_stack: Any, tmp_path: Path) -> Iterator[Bucket]:
    info = embedded_stack.info
    prefix = f"strongroom/{secrets.token_hex(6)}/"
    uri = f"s3://{BUCKET}/{prefix}"
    settings = LogSettings(
        uri=uri,
        key="vault://transit/audit-log",
        role=info.roles["log"],
        vault_addr=info.vault_addr,
        credentials_file=info.identities["log"],
        oidc_role=info.oidc_roles["log"],
        memory=str(tmp_path),
        endpoint=info.s3_endpoint,
    )
    kms = open_kms(
        settings.key,
        vault_addr=info.vault_addr,
        credentials_file=Path(info.identities["releaser"]),
    )
    key = LogKey(log_origin(uri), kms.public_key())
    store, memory = LeasedLog(settings), LogCopy(tmp_path / "memory")
    sequencer = Sequencer(store, memory, key, kms.sign)
    sequencer.start()
    auditor = BrokerClient(lambda _: None, lambda _: None)
    identity = broker_messages.Identity(
        addr=info.vault_addr,
        credentials_file=info.identities["broker"],
        oidc_role=info.oidc_roles["broker"],
    )
    lease = LeaseRef(
        purpose="audit-read",
        bucket=f"s3://{BUCKET}",
        role=info.roles["audit"],
        read=(prefix,),
        create=(),
        ttl_s=900,
        endpoint=info.s3_endpoint,
    )
    auditor.configure(broker_messages.Configure(run="r", identity=identity, leases=(lease,)))
    scope = Scope(bucket=BUCKET, read=(prefix,), create=(prefix,), history=True)
    stolen = Stolen(embedded_stack, embedded_stack.leaser("log").lease(scope, 900, "attack"))
    yield Bucket(
        prefix=prefix,
        key=key,
        store=store,
        reader=BrokerLog(auditor, uri, "audit-read"),
        memory=memory,
        notary=Notary(sequencer),
        sequencer=sequencer,
        thief=stolen,
    )
    auditor.close()
    store.close()


class Stolen:
    """An S3 client with a lease that was stolen, and whose thief renews it."""

    def __init__(self, stack: Any, lease: Any) -> None:
        self._stack, self._lease = stack, lease

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stack.s3(self._lease.credentials()), name)


def following(bucket: Bucket, *entries: bytes) -> dict[str, bytes]:
    """Every object of a log in which these entries come next, complete but for a signature."""
    _, tiles = bucket.memory.edge.extend(list(entries))
    return tiles


def next_tiles(bucket: Bucket) -> dict[str, bytes]:
    """One false event as the next, and many, so that some objects have the honest ones' names."""
    planted: dict[str, bytes] = {}
    for count in range(1, 8):
        planted |= following(bucket, *[false_event(EXPORTED)] * count)
    return planted


def claims(bucket: Bucket) -> dict[str, bytes]:
    """On what comes next: junk, one by hand, and an honest one of an earlier place."""
    size = bucket.memory.size
    edge, _ = bucket.memory.edge.extend([false_event(EXPORTED)])
    old = bucket.store.read(claim_path(0))
    assert old is not None
    by_hand = f"{bucket.origin}\n{size}\n{size + 1}\n{edge.root().hex()}\n{'0' * 64}\n"
    return {
        claim_path(size): by_hand.encode(),
        claim_path(size + 1): old[0],
        claim_path(size + 2): b"",
        claim_path(size + 1000): b"\xff" * 100,
    }


def present_objects(bucket: Bucket) -> dict[str, bytes]:
    """False words in place of what is in the log, in the bundle and in the tile above it."""
    size = bucket.memory.size
    entries = [*bucket.memory.entries(0, size - 1), false_event(EXPORTED)]
    edge, tiles = Edge().extend(entries)
    assert edge.size == size
    return tiles


def older_checkpoint(bucket: Bucket) -> dict[str, bytes]:
    versions = [each for each in bucket.store.versions() if each.key == "checkpoint"]
    (note,) = bucket.store.read_versions("checkpoint", [versions[-1].version])
    assert note is not None
    return {"checkpoint": note}


def junk(_bucket: Bucket) -> dict[str, bytes]:
    return {
        "checkpoint": b"\xff" * 1000,
        "batches/48": encode_bundle([false_event(EXPORTED)]),
        "tile/entries/999": b"",
        "tile/0/x001/000": b"junk",
        tile_path("entries", 0, 250): b"\x00" * 1000,
        "[/x]y": b"\x1b]0;title\x07",
        "deep/" * 50 + "er": b"",
    }


PLANTS = (next_tiles, claims, present_objects, older_checkpoint, junk)


@pytest.mark.parametrize("plant", PLANTS)
def test_what_a_thief_of_the_log_s_lease_plants_is_not_in_the_log(bucket, plant):
    """The next honest word goes on, the log verifies, and what was planted is named."""
    bucket.begin()
    planted = plant(bucket)
    for name, data in planted.items():
        bucket.plant(name, data)
    bucket.go_on()
    assert bucket.is_the_honest_run()
    assert bucket.failures() == []
    kept = {name for name in planted if name != "checkpoint"}
    assert kept <= bucket.noted()


@pytest.mark.parametrize("plant", PLANTS)
def test_nor_is_it_after_a_restart(bucket, plant, tmp_path):
    """A releaser that starts mends the log before it goes on."""
    bucket.begin()
    for name, data in plant(bucket).items():
        bucket.plant(name, data)
    bucket.memory.close()
    again = Sequencer(
        bucket.store, LogCopy(tmp_path / "memory"), bucket.key, bucket.sequencer._sign
    )
    again.start()
    assert bucket.failures() == []
    assert [event.data for event in bucket.events()][-1] == step(1)


def test_it_would_be_if_the_bucket_were_believed(bucket, monkeypatch):
    """The control: a sequencer that takes what is there already for its own."""
    bucket.begin()
    planted = next_tiles(bucket)
    for name, data in planted.items():
        bucket.plant(name, data)

    def put(self: Sequencer, path: str, data: bytes) -> None:
        self._store.create(path, data)

    monkeypatch.setattr(Sequencer, "_put", put)
    bucket.notary.take([said(step(2))], USER)
    assert bucket.failures()


def test_a_claim_by_hand_would_stop_the_releaser_if_it_were_not_authentic(bucket, monkeypatch):
    """The control: claims without a secret."""
    bucket.begin()
    for name, data in claims(bucket).items():
        bucket.plant(name, data)
    monkeypatch.setattr(Sequencer, "_claimed", lambda _self, _at, claim: int(claim.split()[2]))
    with pytest.raises(LogOfAnotherReleaser):
        bucket.notary.take([said(step(2))], USER)


def test_a_rolled_back_checkpoint_is_seen_by_who_saw_the_log(bucket, tmp_path):
    """Until the next honest word. The control: a reader who remembers nothing is content."""
    bucket.begin()
    copy = LogCopy(tmp_path / "copy")
    vkey = bucket.key.vkey()
    size = read_log(bucket.reader, vkey, bucket.origin, copy).size
    bucket.plant("checkpoint", older_checkpoint(bucket)["checkpoint"])
    assert read_log(bucket.reader, vkey, bucket.origin).size < size
    with pytest.raises(LogRolledBack):
        read_log(bucket.reader, vkey, bucket.origin, copy)
    # Nor is the check content, which reads the versions that the bucket keeps.
    assert [row.object for row in bucket.check() if not row.ok]
    bucket.notary.take([said(step(2))], USER)
    assert read_log(bucket.reader, vkey, bucket.origin, copy).size > size
    assert bucket.failures() == []


def test_a_run_cannot_write_below_the_log_s_prefix(bucket, embedded_stack):
    """Not with the roles that its identity may assume, whole and asked for more than a run has; nor
    may it assume the log's. The control: the log's identity writes there."""
    info = embedded_stack.info
    name = bucket.prefix + "planted"
    scope = Scope(bucket=BUCKET, read=(bucket.prefix,), create=(bucket.prefix,), history=True)
    for role in ("audit", "broker"):
        lease = embedded_stack.leaser(role).lease(scope, 900, "attack")
        client = embedded_stack.s3(lease.credentials())
        for key in (name, bucket.prefix + "checkpoint", bucket.prefix + claim_path(0)):
            with pytest.raises(ClientError) as caught:
                client.put_object(Bucket=BUCKET, Key=key, Body=b"{}")
            assert caught.value.response["Error"]["Code"] in {"AccessDenied", "403"}
    foreign = WebIdentityLeaser(
        embedded_stack.token("broker"), info.sts_endpoint, info.roles["log"], "attack"
    )
    with pytest.raises(LeaseRefused):
        foreign.lease(scope, 900, "attack").credentials()
    bucket.plant("planted", b"{}")


# ---- the notary ----------------------------------------------------------------------------------


@pytest.fixture
def log(tmp_path: Path) -> KeptLog:
    """Of one run that has completed, one that goes on, and one of another user."""
    log = KeptLog(tmp_path / "log")
    for run, caller in (("r", USER), ("goes-on", USER), ("theirs", ANOTHER)):
        log.notary.take([said(data, run) for data in BEFORE_KEYS], caller)
        log.notary.say(run, RELEASED)
    log.notary.take([said(data) for data in AFTER_KEYS], USER)
    log.notary.take([said(step(1), "goes-on")], USER)
    return log


@pytest.fixture
def releaser(log: KeptLog) -> Releaser:
    config = settings()

    def no_key(ref: str) -> Any:
        raise AssertionError(ref)

    return Releaser(config, log.notary, log.vkey, no_key)


def at(year: int) -> datetime:
    return datetime(year, 1, 1, tzinfo=UTC)


FALSE = {
    "an export that never was": said(EXPORTED),
    "rollouts that nobody opened": said(
        types.RolloutsOpened(uri="s3://acme-data/runs/r/x", sha256=told.OTHER)
    ),
    "keys that were not released": said(RELEASED, "goes-on"),
    "a refusal that there was not": said(
        types.KeyDenied(role="train", subject=told.PLAN, evidence=told.EVIDENCE, reasons=()), "r"
    ),
    "a releaser's start": said(
        types.ReleaserStarted(
            settings=told.OTHER,
            policy=told.OTHER,
            measurements=(),
            signers=(),
            min_assurance="A0",
            memory="new",
        ),
        "",
    ),
    "a step after completion": said(step(3)),
    "a first step after completion": said(step(1)),
    "another completion": said(told.COMPLETED),
    "a failure after completion": said(told.FAILED),
    "a step that was skipped": said(step(3), "goes-on"),
    "a step that was done": said(step(1), "goes-on"),
    "a result that was not trained": said(told.PUBLISHED, "goes-on"),
    "another user's step": said(step(1), "theirs"),
    "another user's failure": said(told.FAILED, "theirs"),
    "another user's lease": said(LEASE, "theirs"),
    "a step of a run that there is not": said(step(1), "nobody-s"),
    "a step of 1971": said(step(2), "goes-on", at(1971)),
    "a step of 2099": said(step(2), "goes-on", at(2099)),
    "a lease of 1971": said(LEASE, "goes-on", at(1971)),
}


def ask(releaser: Releaser, *events: Event) -> messages.Answer:
    return releaser.answer(messages.Append(events=events), USER)


@pytest.mark.parametrize("what", FALSE)
def test_a_false_event_is_not_taken(what, releaser, log):
    event = msgspec.structs.replace(FALSE[what], caller=RELEASER)
    before = log.events()
    for lie in (event, msgspec.structs.replace(event, actor="controller")):
        answer = ask(releaser, lie)
        assert isinstance(answer, messages.Denied)
        assert [error.code for error in answer.errors] == [EventRefused.code]
    assert log.events() == before
    log.check()
    # The honest run goes on.
    assert ask(releaser, said(step(2), "goes-on")) == messages.Taken(size=len(before) + 1)


@pytest.mark.parametrize("what", FALSE)
def test_it_would_be_without_the_order_of_events(what, releaser, log, monkeypatch):
    """The control: whatever a caller says is taken, and only who verifies later would know."""
    monkeypatch.setattr(order.RunOrder, "check", lambda *_: None)
    monkeypatch.setattr("strongroom.pipeline.releaser.notary.check_time", lambda *_: None)
    monkeypatch.setattr(Notary, "may_speak", lambda *_: True)
    event = FALSE[what]
    if not event.run:
        event = msgspec.structs.replace(event, run="r")
    assert isinstance(ask(releaser, event), messages.Taken)
    assert log.events()[-1].id == event.id


def test_an_exact_duplicate_is_in_the_log_once(releaser, log):
    """Told again, in one request, in another's name, and with an id of its own."""
    first = said(LEASE, "goes-on")
    assert isinstance(ask(releaser, first), messages.Taken)
    before = log.events()
    assert ask(releaser, first) == messages.Taken(size=len(before))
    new = said(LEASE, "goes-on")
    assert isinstance(ask(releaser, new, new), messages.Denied)
    assert isinstance(releaser.answer(messages.Append(events=(first,)), ANOTHER), messages.Denied)
    again = msgspec.structs.replace(said(step(1), "goes-on"))
    assert isinstance(ask(releaser, again), messages.Denied)
    assert log.events() == before
    log.check()


def test_it_would_be_twice_if_ids_were_not_looked_at(releaser, log, monkeypatch):
    """The control; the check of the whole log names it."""
    monkeypatch.setattr(Notary, "known", lambda *_: None)
    lease = said(LEASE, "goes-on")
    for _ in range(2):
        assert isinstance(ask(releaser, lease), messages.Taken)
    assert [event.id for event in log.events()].count(lease.id) == 2
    with pytest.raises(AssertionError):
        log.check()
