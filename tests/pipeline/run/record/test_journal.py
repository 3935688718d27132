"""A run's journal over a real log and its notary: in order, before the run goes on, verifiable."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from strongroom.audit.errors import AuditError
from strongroom.audit.events.entries import Event
from strongroom.audit.log.copy import LogCopy
from strongroom.audit.log.errors import (
    CheckpointUntrusted,
    EventRefused,
    LogNotFound,
    LogNotWritable,
    LogRolledBack,
)
from strongroom.audit.log.note import LogKey
from strongroom.audit.log.verify import read_log
from strongroom.pipeline.broker.log import log_origin
from strongroom.pipeline.run.record.journal import Journal
from support import told
from support.kept_log import ORIGIN, URI, KeptLog
from support.told import LEASE, step


class Releaser:
    """What a run knows of a releaser: it takes events. It can be away, before or after it did."""

    def __init__(self, log: KeptLog, caller: str = "uid:1000") -> None:
        self.log = log
        self.heard: list[list[str]] = []
        self.away: str = ""
        self._caller = caller

    def append(self, events: Sequence[Event]) -> int:
        self.heard.append([event.type for event in events])
        if self.away == "before":
            raise LogNotWritable(place="log")
        size = self.log.notary.take(events, self._caller)
        if self.away == "after":
            raise LogNotWritable(place="log")
        return size


@pytest.fixture
def log(tmp_path: Path) -> KeptLog:
    return KeptLog(tmp_path / "log")


@pytest.fixture
def releaser(log: KeptLog) -> Releaser:
    return Releaser(log)


def journal(releaser: Releaser, run: str = "r", copy: LogCopy | None = None) -> Journal:
    return Journal(run, URI, releaser, releaser.log.store, releaser.log.vkey, copy)


@pytest.fixture
def begun(releaser: Releaser) -> Journal:
    """Of a run whose enclave has keys."""
    return begin(releaser, "r")


def begin(releaser: Releaser, run: str) -> Journal:
    found = journal(releaser, run)
    found.record("controller", told.ADMITTED)
    found.record("enclave", told.STARTED)
    releaser.log.notary.say(run, told.RELEASED)
    return found


def steps(found: Journal, run: str = "") -> list[int]:
    return [event.data.step for event in found.events(run) if event.type == "training.step"]


def test_events_are_kept_in_order(begun):
    begun.record("enclave", step(1), step(2))
    begun.record("enclave", step(3))
    assert steps(begun) == [1, 2, 3]
    assert [event.actor for event in begun.events()] == [
        *("controller", "enclave", "releaser"),
        *("enclave",) * 3,
    ]


def test_the_log_verifies_without_the_journal(begun, log):
    begun.record("enclave", step(1))
    view = read_log(log.store, begun.vkey, log_origin(URI))
    assert view.entries == begun.view().entries
    assert (view.size, view.root) == (begun.view().size, begun.view().root)
    log.check()


def test_an_event_is_in_the_log_when_record_returns(begun, releaser):
    for number in range(1, 4):
        begun.record("enclave", step(number))
        assert steps(journal(releaser)) == list(range(1, number + 1))


def test_noted_events_wait_for_the_next_record(releaser):
    found = journal(releaser)
    found.note("broker", LEASE)
    found.note("broker", LEASE)
    assert found.pending
    with pytest.raises(LogNotFound):
        found.view()
    found.record("controller", told.ADMITTED)
    assert not found.pending
    assert [event.data for event in found.events()] == [LEASE, LEASE, told.ADMITTED]
    assert releaser.heard == [["lease.issued", "lease.issued", "run.admitted"], []]


def test_recording_nothing_writes_what_was_noted(releaser):
    found = journal(releaser)
    found.record("enclave")
    assert releaser.heard == []
    found.note("broker", LEASE)
    found.record("enclave")
    found.record("enclave")
    assert releaser.heard == [["lease.issued"]]


@pytest.mark.parametrize("away", ["before", "after"])
def test_nothing_happens_unlogged_and_nothing_twice(begun, releaser, log, away):
    """A releaser that is away stops the run; what it was told is told again and taken once."""
    begun.record("enclave", step(1))
    releaser.away = away
    with pytest.raises(LogNotWritable):
        begun.record("enclave", step(2))
    assert begun.pending
    releaser.away = ""
    begun.record("enclave", step(3))
    assert steps(begun) == [1, 2, 3]
    log.check()


def test_what_a_releaser_refuses_stops_the_run(begun, log):
    with pytest.raises(EventRefused):
        begun.record("enclave", step(7))
    assert log.types("r")[-1] == "key.released"


def test_history_holds_what_was_taken_and_not_yet_published(begun, releaser, log, monkeypatch):
    """Else a run would be gone on with, or cancelled, at another step than its log says."""
    begun.record("enclave", step(1))

    def away(_key: str, _data: bytes, _etag: str) -> bool:
        raise ConnectionError

    with monkeypatch.context() as cut:
        cut.setattr(log.store, "replace", away)
        with pytest.raises(LogNotWritable):
            journal(releaser).record("enclave", step(2))
        assert begun.view().size == 4, "the checkpoint was not written"
        with pytest.raises(LogNotWritable):
            begun.events()
    assert steps(journal(releaser)) == [1, 2]


def test_runs_share_a_log_and_see_their_own_events(releaser):
    one, two = begin(releaser, "one"), begin(releaser, "two")
    one.record("enclave", step(1))
    two.record("enclave", step(1), step(2))
    one.record("enclave", step(2), step(3))
    assert steps(one) == steps(two, "one") == [1, 2, 3]
    assert steps(two) == steps(one, "two") == [1, 2]
    assert one.view().size == 11
    assert steps(one, "three") == []


def test_a_log_of_another_key_is_not_this_one(begun, releaser, log):
    """The releaser's word is not taken for what the bucket holds."""
    other = LogKey(ORIGIN, Ed25519PrivateKey.generate().public_key().public_bytes_raw())
    stranger = Journal("r", URI, releaser, log.store, other.vkey())
    with pytest.raises(CheckpointUntrusted):
        stranger.events()


def test_what_this_machine_knows_of_the_log_is_not_taken_back(begun, releaser, log, tmp_path):
    """Whoever rolls the bucket back while the releaser says nothing is found out."""
    copy = LogCopy(tmp_path / "copy")
    early = log.store.read("checkpoint")
    begun.record("enclave", step(1))
    assert steps(journal(releaser, copy=copy)) == [1]
    assert early is not None
    now = log.store.read("checkpoint")
    assert now is not None
    log.store.replace("checkpoint", early[0], now[1])
    with pytest.raises(LogRolledBack):
        journal(releaser, copy=copy).view()
    assert journal(releaser).view().size == 3  # the control: nothing is known


def test_a_log_that_is_not_there_is_an_error_and_no_empty_history(releaser, monkeypatch):
    with pytest.raises(LogNotFound):
        journal(releaser).events()
    monkeypatch.setattr(releaser.log.store, "read", lambda _key: 1 / 0)
    with pytest.raises(AuditError, match="SR-AUDIT-001"):
        journal(releaser).view()


@pytest.mark.parametrize(
    ("uri", "origin"),
    [
        (URI, ORIGIN),
        ("s3://acme-audit/a/b/", "acme-audit/a/b"),
        ("local:///srv/audit/", "/srv/audit"),
    ],
)
def test_a_log_is_named_after_its_prefix(uri, origin):
    assert log_origin(uri) == origin
