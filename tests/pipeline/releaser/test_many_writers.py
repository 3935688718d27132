"""Runs that append to one log at once, each a process, through a real releaser on a real bucket.

The releaser is killed meanwhile and started again: no event is lost, none is there twice, and the
log is one history.
"""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from strongroom.audit.events.entries import to_entry
from strongroom.audit.events.order import check_history
from strongroom.pipeline.embedded import stack as embedded
from strongroom.pipeline.releaser.client import ReleaserClient
from support.auditor import Auditor
from support.telling import numbered, telling

WRITERS = 8


@pytest.fixture
def lone_stack(lone_job: Any) -> embedded.Embedded:
    return embedded.up(lone_job.stack.state)


@pytest.fixture(scope="module")
def own_stack() -> Iterator[embedded.Embedded]:
    """Its log becomes long."""
    folder = Path(tempfile.mkdtemp(prefix="writers-"))  # short: sockets lie in it
    yield embedded.up(folder / "state")
    embedded.down(folder / "state")
    shutil.rmtree(folder)


def kill_and_start(stack: embedded.Embedded) -> None:
    (releaser,) = (each for each in embedded.status(stack.state) if each.name == "releaser")
    os.kill(releaser.pid, signal.SIGKILL)
    embedded.up(stack.state)


def append_at_once(stack: embedded.Embedded, count: int, kills: int) -> None:
    """And check all of it."""
    runs = [f"writer-{number}-{secrets.token_hex(4)}" for number in range(WRITERS)]
    client = ReleaserClient(stack.releaser_socket)
    before = client.append([])
    with telling(stack.releaser_socket, runs, count) as finished:
        for kill in range(kills):
            part = before + WRITERS * count * (kill + 1) // (kills + 1)
            while client.append([]) < part:
                time.sleep(0.05)
            kill_and_start(stack)
        told = finished()
    auditor = Auditor(stack)
    log = auditor.every_event()
    assert list(check_history(to_entry(event) for event in log)) == []
    for run, sizes in zip(runs, told, strict=True):
        assert sizes == sorted(set(sizes)), "what was told is where it was promised"
        places = [place for place, event in enumerate(log) if event.run == run]
        leases = [log[place].data.lease for place in places[1:]]
        assert leases == [numbered(number) for number in range(1, count)]
        assert all(place < size for place, size in zip(places, sizes, strict=True))
    assert [row for row in auditor.check() if not row.ok] == []
    assert sum(event.type == "releaser.started" for event in log) > kills


def test_eight_processes_at_once_lose_nothing_though_the_releaser_is_killed(lone_stack):
    append_at_once(lone_stack, 10, kills=1)


@pytest.mark.full
@pytest.mark.parametrize("kills", [0, 5])
def test_eight_processes_append_a_thousand_events_each(own_stack, kills):
    append_at_once(own_stack, 1000, kills)
