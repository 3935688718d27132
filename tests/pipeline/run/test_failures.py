"""Whatever fails after a lease is the log's last word on a run, and on no other run."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from strongroom.audit.events import types as events
from strongroom.audit.log.errors import LogNotFound
from strongroom.errors import ErrorList, StrongroomError
from strongroom.errors.defect import Defect
from strongroom.pipeline.broker.errors import BrokerLost, OutputConflict
from strongroom.pipeline.planning.errors import FactMissing, RunExists, RunUnknown
from strongroom.pipeline.run.failures import log_failure, logging_failures_before_plan
from strongroom.policies.errors import AdmissionDenied, DenialList

ADMITTED = events.RunResumed(plan="sha256:" + "a" * 64, step=0)
COMPLETED = events.RunCompleted(steps=1, seconds=1.0, adapter="", manifest="")


class Journal:
    """A log with what it holds, and what is noted for it."""

    def __init__(self) -> None:
        self.noted = ["a lease"]
        self.held: list[events.EventData] = []
        self.broken = False

    @property
    def pending(self) -> bool:
        return bool(self.noted)

    def events(self) -> list[Any]:
        if not self.held:
            raise LogNotFound
        return [SimpleNamespace(data=data) for data in self.held]

    def record(self, _actor: str, *data: events.EventData) -> None:
        if self.broken:
            raise BrokerLost
        self.noted.clear()
        self.held += data


class Connections:
    def __init__(self) -> None:
        self.journal = Journal()
        self.alarms: list[str] = []
        self.watcher = SimpleNamespace(alarm=self.alarms.append)


@pytest.fixture
def connections() -> Any:
    return Connections()


def fail(connections: Any, error: Exception, *unless: str) -> list[events.EventData]:
    """What the log holds after ``error`` came up before there was a plan."""
    with pytest.raises(type(error)) as caught, logging_failures_before_plan(connections, unless):
        raise error
    assert caught.value is error
    held: list[events.EventData] = connections.journal.held
    return held


def test_a_failure_is_written_after_the_leases_before_it(connections):
    wanted = events.RunFailed(code=FactMissing.code, stage="plan", step=0)
    assert fail(connections, FactMissing(place="x")) == [wanted]
    assert not connections.journal.pending


def test_without_a_lease_there_is_nothing_to_account_for(connections):
    connections.journal.noted.clear()
    assert fail(connections, FactMissing(place="x")) == []


@pytest.mark.parametrize("error", [RunExists(place="x"), RunUnknown(place="x")])
def test_another_runs_log_gets_no_word(connections, error):
    assert fail(connections, error) == []


@pytest.mark.parametrize(("before", "unless"), [(ADMITTED, "running"), (COMPLETED, "completed")])
def test_a_run_that_stands_well_is_not_called_failed(connections, before, unless):
    connections.journal.held.append(before)
    assert fail(connections, FactMissing(place="x"), unless) == [before]
    assert len(fail(connections, FactMissing(place="x"), "another state")) == 2


def test_the_gravest_of_several_errors_is_named(connections):
    several = ErrorList([FactMissing(place="x"), OutputConflict(place="y"), FactMissing(place="z")])
    [failed] = fail(connections, several)
    assert isinstance(failed, events.RunFailed)
    assert failed.code == OutputConflict.code


def test_an_unforeseen_error_is_told_without_its_text(connections):
    [failed] = fail(connections, ValueError("row 17 says hello"))
    assert isinstance(failed, events.RunFailed)
    assert failed.code == Defect.code
    assert "hello" not in str(failed)


def test_a_denial_has_its_own_event(connections):
    log_failure(connections, DenialList([AdmissionDenied(place="x")]), "admit")
    assert connections.journal.held == []


def test_a_run_whose_id_another_machine_took_has_not_failed(connections):
    log_failure(connections, RunExists(place="x"), "admit")
    assert connections.journal.held == []
    assert not connections.journal.pending, "the leases are told all the same"


def test_a_log_that_cannot_be_written_hides_nothing(connections):
    connections.journal.broken = True
    error: StrongroomError = FactMissing(place="x")
    fail(connections, error)
    assert connections.alarms == [f"{FactMissing.code} is not in the log: {BrokerLost.code}"]
