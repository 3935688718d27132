"""Fixtures of logs, and of reports of one invented run."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from strongroom.audit.events.entries import Event
from strongroom.audit.report.planned import Planned
from support import invented
from support.logs import FailingStore, LogMaker, MemoryStore


@pytest.fixture
def maker() -> LogMaker:
    return LogMaker()


@pytest.fixture
def memory() -> MemoryStore:
    return MemoryStore()


@pytest.fixture
def failing() -> type[FailingStore]:
    return FailingStore


@pytest.fixture
def run_events() -> list[Event]:
    return invented.run_events()


@pytest.fixture
def plan() -> Planned:
    """What the report takes from the run's plan."""
    return invented.planned()


@pytest.fixture
def digest_of() -> Callable[[str], str]:
    return invented.digest
