"""How a failure gets into the log: with its code, its stage, and the leases that were taken before.

Anything that fails after a first lease is logged as the run's last event, also before there is a
plan. A denial by the policy has its own event. Where the log cannot be written, that is only shown,
so that it does not hide what went wrong.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import contextmanager

from strongroom.audit.events import types as events
from strongroom.errors import StrongroomError
from strongroom.errors.defect import defect
from strongroom.errors.listing import errors_of
from strongroom.pipeline.planning.errors import RunExists, RunUnknown
from strongroom.pipeline.run.connections import Connections
from strongroom.pipeline.run.record.history import History
from strongroom.policies.errors import DenialList


@contextmanager
def logging_failures_before_plan(
    connections: Connections, unless: Collection[str]
) -> Iterator[None]:
    """Log what fails before there is a session.

    Nothing is logged where no lease was taken, nor under the id of another run (``RunExists`` and
    ``RunUnknown``), nor where the log has the run in a state of ``unless``.
    """
    try:
        yield
    except (RunExists, RunUnknown):
        raise
    except Exception as error:
        if connections.journal.pending and _state(connections) not in unless:
            log_failure(connections, error, "plan")
        raise


def log_failure(connections: Connections, error: Exception, stage: str, step: int = 0) -> None:
    """Write ``run.failed`` after what is noted; where that fails too, show that it did.

    Of several errors the one that decides the exit code is named, the last of equals: a sum comes
    after what it sums up. Where another machine took the id in the meantime, the run is its run,
    and has not failed.
    """
    if isinstance(error, DenialList):
        return
    found = error if isinstance(error, StrongroomError) else defect(error)
    gravest = max(reversed(errors_of(found)), key=lambda each: each.exit_code)
    failed = events.RunFailed(code=gravest.code, stage=stage, step=step)
    logged = () if isinstance(error, RunExists) else (failed,)
    try:
        connections.journal.record("controller", *logged)
    except StrongroomError as unwritten:
        connections.watcher.alarm(f"{gravest.code} is not in the log: {unwritten.code}")


def _state(connections: Connections) -> str:
    try:
        log = connections.journal.events()
    except StrongroomError:
        log = []  # a log that cannot be read will say so when it is written
    return History.of(event.data for event in log).state
