"""A run's journal over a real log in a folder: in order, before the run goes on, and verifiable."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from strongroom.audit.events import types as events
from strongroom.audit.log.errors import CheckpointUntrusted, LogNotFound, SignerMismatch
from strongroom.audit.log.note import parse_text
from strongroom.audit.log.store import DirectoryStore
from strongroom.audit.log.verify import read_log
from strongroom.crypto.dsse import key_ref
from strongroom.pipeline.broker.errors import BrokerLost
from strongroom.pipeline.broker.messages import Stored
from strongroom.pipeline.releaser.errors import SignRefused
from strongroom.pipeline.run.record.journal import (
    PURPOSE,
    BucketLogStore,
    Journal,
    log_origin,
)

AUDIT = "s3://acme-audit/strongroom/"
KEY = Ed25519PrivateKey.generate()
KEY_REF = key_ref(KEY.public_key().public_bytes_raw())
DIGEST = "sha256:" + "a" * 64


class Broker:
    """A broker's client whose audit bucket is a folder."""

    def __init__(self, folder: Path) -> None:
        self.store = DirectoryStore(folder)
        self.purposes: set[str] = set()
        self.broken = False
        self.on_write: Any = lambda: None

    def _key(self, uri: str, purpose: str) -> str:
        if self.broken:
            raise BrokerLost(place="broker")
        self.purposes.add(purpose)
        assert uri.startswith(AUDIT)
        return uri.removeprefix(AUDIT)

    def read(self, uri: str, purpose: str) -> Stored | None:
        found = self.store.read(self._key(uri, purpose))
        return None if found is None else Stored(data=found[0], etag=found[1])

    def create(self, uri: str, purpose: str, data: bytes) -> bool:
        self.on_write()
        return self.store.create(self._key(uri, purpose), data)

    def replace(self, uri: str, purpose: str, data: bytes, etag: str) -> bool:
        return self.store.replace(self._key(uri, purpose), data, etag)

    def sizes(self, uri: str, purpose: str) -> dict[str, int]:
        assert self._key(uri, purpose) == ""
        return dict.fromkeys(reversed(self.store.keys()), 1)


@pytest.fixture
def broker(tmp_path: Path) -> Broker:
    return Broker(tmp_path / "log")


def journal(broker: Any, run: str = "r", sign: Any = KEY.sign) -> Journal:
    return Journal(run, AUDIT, broker, sign, KEY_REF)


def step(number: int) -> events.TrainingStep:
    return events.TrainingStep(step=number, values={"loss": 0.5})


def steps(found: Journal) -> list[int]:
    return [event.data.step for event in found.events() if hasattr(event.data, "step")]


LEASE = events.LeaseIssued(
    lease="0123456789abcdef",
    purpose="data-read",
    role="arn:aws:iam::000000000000:role/strongroom",
    bucket="acme-data",
    read=("datasets/feedback/train/",),
    create=(),
    ttl_s=900,
    expires_at="2026-01-02T03:04:05.678Z",
)


def test_events_are_kept_in_order(broker):
    found = journal(broker)
    found.record("enclave", step(1), step(2))
    found.record("enclave", step(3))
    assert steps(found) == [1, 2, 3]
    assert {event.actor for event in found.events()} == {"enclave"}
    assert broker.purposes == {PURPOSE}


def test_the_log_verifies_without_the_journal(broker):
    found = journal(broker)
    found.record("controller", step(1))
    view = read_log(broker.store, found.vkey, log_origin(AUDIT))
    assert len(view.entries) == 1
    assert view == found.view()


def test_an_event_is_in_the_log_when_record_returns(broker):
    found = journal(broker)
    for number in range(1, 4):
        found.record("enclave", step(number))
        assert len(journal(broker).view().entries) == number


def test_noted_events_wait_for_the_next_record(broker):
    found = journal(broker)
    found.note("enclave", step(1))
    found.note("enclave", step(2))
    with pytest.raises(LogNotFound):
        found.view()
    found.record("enclave", step(3))
    assert steps(found) == [1, 2, 3]
    assert len(found.view().sizes) == 1


def test_recording_nothing_writes_what_was_noted(broker):
    found = journal(broker)
    found.record("enclave")
    assert broker.store.keys() == []
    found.note("enclave", step(1))
    found.record("enclave")
    assert steps(found) == [1]
    before = broker.store.keys()
    found.record("enclave")
    assert broker.store.keys() == before


def test_a_lease_taken_while_writing_is_kept_for_the_next_time(broker):
    """The first write makes the broker take a lease, of which it tells in the middle of it."""
    found = journal(broker)
    told = []

    def notice() -> None:
        if not told:
            told.append(1)
            found.note("broker", LEASE)

    broker.on_write = notice
    found.record("enclave", step(1))
    assert steps(found) == [1]
    found.record("enclave", step(2))
    kinds = [type(event.data).__name__ for event in found.events()]
    assert kinds == ["TrainingStep", "LeaseIssued", "TrainingStep"]


def test_nothing_happens_unlogged(broker):
    found = journal(broker)
    found.record("enclave", step(1))
    broker.broken = True
    with pytest.raises(BrokerLost):
        found.record("enclave", step(2))
    broker.broken = False
    found.record("enclave", step(3))
    assert steps(found) == [1, 2, 3]


def test_history_holds_what_a_killed_writer_had_begun(broker):
    """Else a run would be gone on with, or cancelled, at another step than its log says."""
    journal(broker).record("enclave", step(1))

    def killed(_note: bytes) -> bytes:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        journal(broker, sign=killed).record("enclave", step(2))
    assert journal(broker).view().pending == 1
    assert steps(journal(broker)) == [1, 2]


def test_a_releaser_that_does_not_sign_stops_the_run(broker):
    def refuse(_note: bytes) -> bytes:
        raise SignRefused(place="log")

    with pytest.raises(SignRefused):
        journal(broker, sign=refuse).record("enclave", step(1))
    with pytest.raises(SignerMismatch):
        journal(broker, sign=Ed25519PrivateKey.generate().sign).record("enclave", step(1))


def test_what_is_signed_is_a_checkpoint_of_this_log(broker):
    notes: list[bytes] = []

    def sign(note: bytes) -> bytes:
        notes.append(note)
        return KEY.sign(note)

    found = journal(broker, sign=sign)
    found.record("enclave", step(1))
    found.record("enclave", step(2), step(3))
    checkpoints = [parse_text(note, place="note") for note in notes]
    assert [(c.origin, c.size) for c in checkpoints] == [(log_origin(AUDIT), n) for n in (1, 3)]


def test_runs_share_a_log_and_see_their_own_events(broker):
    one, two = journal(broker, "one"), journal(broker, "two")
    one.record("enclave", step(1))
    two.record("enclave", step(10))
    one.record("enclave", step(2))
    assert steps(one) == [1, 2]
    assert steps(two) == [10]
    assert len(one.view().entries) == 3


def test_a_log_signed_by_another_key_is_not_this_one(broker):
    journal(broker).record("enclave", step(1))
    other = Ed25519PrivateKey.generate()
    stranger = Journal(
        "r", AUDIT, broker, other.sign, key_ref(other.public_key().public_bytes_raw())
    )
    with pytest.raises(CheckpointUntrusted):
        stranger.events()


def test_keys_of_the_store_are_sorted(broker):
    journal(broker).record("enclave", step(1))
    store = BucketLogStore(broker, AUDIT)
    assert store.keys() == sorted(broker.store.keys())
    assert store.read("nothing") is None
    assert store.create("checkpoint", b"x") is False
    assert store.replace("checkpoint", b"x", "another version") is False


@pytest.mark.parametrize(
    ("uri", "origin"),
    [
        (AUDIT, "acme-audit/strongroom"),
        ("s3://acme-audit/a/b/", "acme-audit/a/b"),
        ("local:///srv/audit/", "/srv/audit"),
    ],
)
def test_a_log_is_named_after_its_prefix(uri, origin):
    assert log_origin(uri) == origin


def test_a_lease_reads_back(broker):
    found = journal(broker)
    found.record("broker", LEASE)
    assert found.events()[0].data == LEASE
