"""A run's events by their places in the log, so that whatever is said of one can name it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Generic, TypeVar, overload

from strongroom.audit.events import types
from strongroom.audit.events.entries import Event

D = TypeVar("D", bound=types.EventData, covariant=True)
T = TypeVar("T", bound=types.EventData)
U = TypeVar("U", bound=types.EventData)


@dataclass(frozen=True)
class Entry(Generic[D]):
    """One event, its index in the log from 0, and what it says."""

    index: int
    event: Event
    data: D

    @property
    def id(self) -> str:
        """The event's own id."""
        return self.event.id

    @property
    def time(self) -> str:
        """When it happened, ISO 8601 UTC."""
        return self.event.time

    @property
    def actor(self) -> str:
        """The role that saw it happen."""
        return self.event.actor

    @property
    def type(self) -> str:
        """Its type, such as ``run.admitted``."""
        return self.event.type


Entries = Sequence[Entry[types.EventData]]


def entries_of(log: Sequence[Event]) -> tuple[Entry[types.EventData], ...]:
    """The entries of a log, whose order is that of ``log``."""
    return tuple(Entry(index, event, event.data) for index, event in enumerate(log))


@overload
def of(entries: Entries, one: type[T], /) -> tuple[Entry[T], ...]: ...
@overload
def of(entries: Entries, one: type[T], other: type[U], /) -> tuple[Entry[T | U], ...]: ...
@overload
def of(
    entries: Entries, /, *kinds: type[types.EventData]
) -> tuple[Entry[types.EventData], ...]: ...
def of(entries: Entries, /, *kinds: type[Any]) -> tuple[Entry[Any], ...]:
    """The entries of these types, in order."""
    return tuple(entry for entry in entries if isinstance(entry.data, kinds))


def last(entries: Sequence[Entry[T]]) -> T | None:
    """What the last entry says; None where there is none."""
    return entries[-1].data if entries else None


def seconds_between(earlier: str, later: str) -> float:
    """Seconds from one event's time to another's; infinite where one is no time at all."""
    try:
        return (datetime.fromisoformat(later) - datetime.fromisoformat(earlier)).total_seconds()
    except (TypeError, ValueError):
        return math.inf


def days_later(time: str, days: int) -> str:
    """The date so many days after an event's time; empty where there is none."""
    try:
        return f"{datetime.fromisoformat(time) + timedelta(days=days):%Y-%m-%d}"
    except (OverflowError, ValueError):
        return ""
