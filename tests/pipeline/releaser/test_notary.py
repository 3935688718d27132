"""The log's notary: what it takes from whom, once, and what it does when the bucket fails."""

from __future__ import annotations

import contextlib
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest

from strongroom.audit.errors import AuditError
from strongroom.audit.events import types
from strongroom.audit.events.entries import RELEASER, Event
from strongroom.audit.events.errors import EventInvalid
from strongroom.audit.events.order import EARLY, LATE
from strongroom.audit.log.errors import EventRefused, LogNotWritable
from strongroom.audit.log.store import DirectoryStore
from strongroom.pipeline.releaser.notary import Notary
from support import told
from support.kept_log import KeptLog
from support.told import AFTER_KEYS, BEFORE_KEYS, EXPORTED, LEASE, RELEASED, said, step

USER, ANOTHER, OWNER = "uid:1000", "uid:1001", "uid:0"


class Clock:
    def __init__(self) -> None:
        self.now = datetime.now(UTC)

    def __call__(self) -> datetime:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def log(tmp_path: Path, clock: Clock) -> KeptLog:
    return KeptLog(tmp_path / "log", owners=[OWNER], clock=clock)


def begin(log: KeptLog, run: str = "r", caller: str = USER) -> None:
    """A run up to its keys."""
    log.notary.take([said(data, run) for data in BEFORE_KEYS], caller)
    log.notary.say(run, RELEASED)


def test_a_run_is_told_from_its_admission_to_its_end(log):
    begin(log)
    for data in AFTER_KEYS:
        before = len(log.events())
        assert log.notary.take([said(data)], USER) == before + 1
        assert len(log.events()) == before + 1, "it is published when it is taken"
    data = [event.data for event in log.events("r")]
    assert data == [*BEFORE_KEYS, RELEASED, *AFTER_KEYS]
    assert {event.caller for event in log.events("r")} == {USER, RELEASER}
    log.check()


def test_the_caller_is_whoever_asked_and_not_whom_the_event_names(log):
    lie = msgspec.structs.replace(said(told.ADMITTED), caller=RELEASER)
    log.notary.take([lie], USER)
    assert log.events("r")[0].caller == USER


# ---- once ----------------------------------------------------------------------------------------


def test_a_request_whose_answer_was_lost_can_be_repeated(log):
    events = [said(data) for data in BEFORE_KEYS]
    for _ in range(3):
        assert log.notary.take(events, USER) == 3
    assert log.notary.take([events[1]], USER) == 3
    more = said(told.FAILED)
    assert log.notary.take([*events, more], USER) == 4, "what is new of it is taken"
    assert [event.id for event in log.events("r")] == [each.id for each in (*events, more)]


def test_it_can_be_repeated_after_a_restart(log):
    events = [said(data) for data in BEFORE_KEYS]
    log.notary.take(events, USER)
    log.notary = log.started()
    assert log.notary.take(events, USER) == 3
    log.notary.say("r", RELEASED)
    log.notary.take([said(step(1))], USER)
    log.check()


def test_an_id_belongs_to_one_entry(log):
    first = said(told.ADMITTED)
    log.notary.take([first], USER)
    for other in (
        msgspec.structs.replace(first, data=told.FAILED),
        msgspec.structs.replace(first, run="another"),
        msgspec.structs.replace(first, time=said(LEASE).time[:-4] + "001Z"),
    ):
        with pytest.raises(EventRefused):
            log.notary.take([other], USER)
    with pytest.raises(EventRefused, match="an id that no other entry has"):
        log.notary.take([first], OWNER)  # nor does another caller say it again
    assert log.types() == ["run.admitted"]


@pytest.mark.parametrize("other", [LEASE, told.FAILED])
def test_one_request_does_not_say_one_id_twice(log, other):
    lease = said(LEASE)
    twice = [said(told.ADMITTED), lease, msgspec.structs.replace(said(other), id=lease.id)]
    with pytest.raises(EventRefused, match="an id of their own"):
        log.notary.take(twice, USER)
    assert log.events() == []


def test_two_runs_at_once_do_not_say_one_id_twice(log):
    """Either is the first, and the log stays one that verifies."""
    rounds = 30
    barrier = threading.Barrier(4)

    def claim(worker: int) -> int:
        taken = 0
        for turn in range(rounds):
            event = msgspec.structs.replace(said(LEASE, f"run-{worker}"), id=f"{turn:032x}")
            barrier.wait()
            try:
                log.notary.take([event], USER)
                taken += 1
            except EventRefused:
                pass
        return taken

    with ThreadPoolExecutor(4) as pool:
        assert sum(pool.map(claim, range(4))) <= rounds
    log.check()


# ---- all or none ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "bad",
    [step(9), EXPORTED, told.COMPLETED],
    ids=lambda data: type(data).__name__,
)
def test_a_request_that_is_refused_takes_nothing(log, bad):
    begin(log)
    before = log.types()
    with pytest.raises(EventRefused):
        log.notary.take([said(step(1)), said(LEASE), said(bad)], USER)
    assert log.types() == before
    log.notary.take([said(step(1))], USER)  # and what it held does not count as told
    assert log.types() == [*before, "training.step"]


def test_a_value_that_may_not_be_logged_takes_nothing(log):
    bad = msgspec.structs.replace(LEASE, purpose="a sentence of words")
    event = msgspec.structs.replace(said(LEASE), data=bad)
    with pytest.raises(EventInvalid):
        log.notary.take([said(told.ADMITTED), event], USER)
    assert log.events() == []


def test_a_request_is_of_one_run(log):
    for runs in (("r", "s"), ("",), ("r", "")):
        with pytest.raises(EventRefused, match="events of one run"):
            log.notary.take([said(LEASE, run) for run in runs], USER)
    assert log.events() == []


def test_nothing_to_take_publishes_what_there_is(log):
    assert log.notary.take([], USER) == 0
    log.notary.take([said(told.ADMITTED)], USER)
    assert log.notary.take([], USER) == 1


# ---- whose word it is ----------------------------------------------------------------------------


def test_only_who_began_a_run_tells_of_it_and_the_owner(log):
    begin(log)
    with pytest.raises(EventRefused, match="of r"):
        log.notary.take([said(step(1))], ANOTHER)
    with pytest.raises(EventRefused):
        log.notary.take([said(LEASE)], ANOTHER)
    log.notary.take([said(step(1))], USER)
    log.notary.take([said(step(2))], OWNER)
    log.notary.take([said(told.WRITTEN)], USER)
    begin(log, "another", ANOTHER)
    with pytest.raises(EventRefused):
        log.notary.take([said(step(1), "another")], USER)
    log.check()


def test_it_is_remembered_after_a_restart_and_among_many_runs(log, monkeypatch):
    monkeypatch.setattr("strongroom.pipeline.releaser.notary._RUNS_KEPT", 2)
    for number in range(5):
        begin(log, f"run-{number}")
    log.notary = log.started()
    for number in range(5):
        with pytest.raises(EventRefused):
            log.notary.take([said(step(1), f"run-{number}")], ANOTHER)
        log.notary.take([said(step(1), f"run-{number}")], USER)
    log.check()


def test_what_is_remembered_of_runs_is_bounded(log, monkeypatch):
    """However many a caller names, and whether they are told of or refused."""
    monkeypatch.setattr("strongroom.pipeline.releaser.notary._RUNS_KEPT", 8)

    def held() -> int:
        return sum(len(value) for value in vars(log.notary).values() if hasattr(value, "__len__"))

    begin(log, "first")
    before = held()
    for number in range(100):
        with pytest.raises(EventRefused):
            log.notary.take([said(step(1), f"refused-{number}")], USER)
    for number in range(20):
        log.notary.take([said(told.ADMITTED, f"told-{number}")], USER)
    assert held() <= before + 8


RELEASER_SAYS = (
    RELEASED,
    EXPORTED,
    types.KeyDenied(role="train", subject=told.PLAN, evidence=told.EVIDENCE, reasons=("SR-X-001",)),
    types.RolloutsOpened(uri="s3://acme-data/runs/r/2/rollouts.sealed", sha256=told.OTHER),
)


@pytest.mark.parametrize("caller", [USER, OWNER])
@pytest.mark.parametrize("data", RELEASER_SAYS, ids=lambda data: type(data).__name__)
def test_the_releaser_s_doings_are_said_by_the_releaser(log, data, caller):
    """The control: it says them itself, at the same place."""
    log.notary.take([said(each) for each in BEFORE_KEYS], USER)
    before = log.types()
    for actor in ("releaser", "controller", "owner"):
        lie = msgspec.structs.replace(said(data), actor=actor, caller=RELEASER)
        with pytest.raises(EventRefused):
            log.notary.take([lie], caller)
    assert log.types() == before
    log.notary.say("r", data)
    assert log.events()[-1].data == data
    log.check()


def test_nor_does_it_say_what_does_not_fit(log):
    with pytest.raises(EventRefused):
        log.notary.say("r", RELEASED)
    log.notary.take([said(each) for each in BEFORE_KEYS], USER)
    with pytest.raises(EventRefused):
        log.notary.say("r", msgspec.structs.replace(RELEASED, evidence=told.OTHER))


# ---- times ---------------------------------------------------------------------------------------

SECOND = timedelta(seconds=1)


@pytest.mark.parametrize(
    ("off", "taken"),
    [
        (timedelta(), True),
        (EARLY - SECOND, True),
        (EARLY + SECOND, False),
        (SECOND - LATE, True),
        (-LATE - SECOND, False),
        (timedelta(days=-1), False),
    ],
)
def test_a_caller_s_clock_is_near_the_releaser_s(log, clock, off, taken):
    event = said(told.ADMITTED, at=clock.now + off)
    if taken:
        assert log.notary.take([event], USER) == 1
        log.check()
        return
    with pytest.raises(EventRefused, match="a time within"):
        log.notary.take([event], USER)
    assert log.events() == []


@pytest.mark.parametrize("year", [1971, 2099])
def test_no_event_of_another_time(log, year):
    begin(log)
    before = log.types()
    for data in (step(1), LEASE):
        with pytest.raises(EventRefused):
            log.notary.take([said(data, at=datetime(year, 1, 1, tzinfo=UTC))], USER)
    assert log.types() == before


def test_a_request_that_waited_is_the_same_request(log, clock):
    """What is in the log already is not measured by the clock again."""
    event = said(told.ADMITTED, at=clock.now)
    log.notary.take([event], USER)
    clock.now += timedelta(days=2)
    assert log.notary.take([event], USER) == 1


# ---- the bucket ----------------------------------------------------------------------------------


class Unreachable:
    """A bucket that can be cut off; while it is, ``at_write`` runs before each write fails."""

    def __init__(self, folder: Path) -> None:
        self._store = DirectoryStore(folder)
        self.cut = False
        self.reaches = 0
        """Writes that get there before it is cut off."""
        self.at_write: Any = lambda: None

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._store, name)

        def call(*args: object) -> object:
            if name in ("create", "replace"):
                self.at_write()
                self.reaches -= 1
            if self.cut and self.reaches < 0:
                raise ConnectionError
            return method(*args)

        return call


@pytest.fixture
def unreachable(tmp_path: Path) -> Unreachable:
    return Unreachable(tmp_path / "log")


@pytest.fixture
def cut_log(unreachable: Unreachable, clock: Clock) -> KeptLog:
    return KeptLog(Path("unused"), clock=clock, store=unreachable)  # type: ignore[arg-type]


@pytest.mark.parametrize("reaches", range(6))
def test_an_event_that_was_taken_while_the_bucket_was_away_is_in_the_log_once(
    cut_log, unreachable, reaches
):
    """Wherever the connection broke; asked again with it, before it and after it."""
    begin(cut_log)
    event = said(step(1))
    unreachable.cut, unreachable.reaches = True, reaches
    try:
        cut_log.notary.take([event], USER)
    except AuditError:
        with pytest.raises(AuditError):
            cut_log.notary.take([event], USER)
    unreachable.cut = False
    cut_log.notary.take([event], USER)
    cut_log.notary.take([said(step(2))], USER)
    cut_log.notary.take([event], USER)
    steps = [each.data.step for each in cut_log.events("r") if each.type == "training.step"]
    assert steps == [1, 2]
    cut_log.check()


def test_a_releaser_that_ends_while_the_bucket_is_away_publishes_at_its_next_start(
    cut_log, unreachable
):
    begin(cut_log)
    unreachable.cut = True
    with pytest.raises(LogNotWritable):
        cut_log.notary.take([said(step(1))], USER)
    unreachable.cut = False
    cut_log.notary = cut_log.started()
    assert cut_log.types("r")[-1] == "training.step"
    cut_log.check()


def test_what_the_releaser_does_is_not_done_while_the_log_cannot_be_written(cut_log, unreachable):
    cut_log.notary.take([said(each) for each in BEFORE_KEYS], USER)
    unreachable.cut = True
    with pytest.raises(LogNotWritable):
        cut_log.notary.say("r", RELEASED)


# ---- the log's own leases ------------------------------------------------------------------------


def leases(log: KeptLog) -> list[Event]:
    return [event for event in log.events("") if event.type == "lease.issued"]


def test_a_lease_of_the_log_s_own_is_entered_with_the_next_entry(log):
    log.notary.note(LEASE)
    assert log.events() == []
    log.notary.take([said(told.ADMITTED)], USER)
    (lease,) = leases(log)
    assert (lease.data, lease.caller, lease.run) == (LEASE, RELEASER, "")
    log.notary.take([said(told.FAILED)], USER)
    assert len(leases(log)) == 1
    log.check()


def test_a_lease_that_is_taken_while_writing_waits_for_the_next_entry(cut_log, unreachable):
    told_once: list[int] = []

    def notice() -> None:
        if not told_once:
            told_once.append(1)
            cut_log.notary.note(LEASE)

    unreachable.at_write = notice
    cut_log.notary.take([said(told.ADMITTED)], USER)
    assert leases(cut_log) == []
    cut_log.notary.take([], USER)
    assert len(leases(cut_log)) == 1


@pytest.mark.parametrize("reaches", range(6))
def test_a_lease_is_entered_once_wherever_the_bucket_fails(cut_log, unreachable, reaches):
    begin(cut_log)
    cut_log.notary.note(LEASE)
    unreachable.cut, unreachable.reaches = True, reaches
    event = said(step(1))
    for _ in range(2):
        with contextlib.suppress(AuditError):
            cut_log.notary.take([event], USER)
        unreachable.reaches = 0
    unreachable.cut = False
    cut_log.notary.take([event], USER)
    assert len(leases(cut_log)) == 1
    cut_log.check()


def test_a_lease_is_not_lost_where_a_request_is_refused(log):
    log.notary.note(LEASE)
    with pytest.raises(EventRefused):
        log.notary.take([said(step(1))], USER)
    log.notary.take([said(told.ADMITTED)], USER)
    assert len(leases(log)) == 1


# ---- many at once --------------------------------------------------------------------------------


def test_runs_are_told_at_once_and_none_loses_an_event(log):
    def tell(number: int) -> None:
        run, notary = f"run-{number}", log.notary
        assert isinstance(notary, Notary)
        begin(log, run)
        for data in AFTER_KEYS:
            notary.take([said(data, run)], USER)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(tell, range(8)))
    for number in range(8):
        data = [event.data for event in log.events(f"run-{number}")]
        assert data == [*BEFORE_KEYS, RELEASED, *AFTER_KEYS]
    log.check()
