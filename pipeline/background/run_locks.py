"""Locks on a run: at most one controller and one supervisor of it on this machine at a time.

Each holds a lock on a file of its own in the state folder, with its process written into it. The
kernel gives the lock back when the process ends, however it ends. How the last controller ended
lies beside it, for ``strongroom wait``. These are notes of this machine and hold no secret; what
happened to a run is in the audit log.
"""

from __future__ import annotations

import fcntl
import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal, TypeVar

import msgspec

from strongroom.connectors.host.errors import StackFolderUnusable
from strongroom.connectors.host.folders import private_folder, write_private
from strongroom.connectors.host.processes import Process, identify, stop
from strongroom.enclave.plan.objects import check_run_id
from strongroom.errors import ErrorDocument, Exit, StrongroomError
from strongroom.errors.defect import defect
from strongroom.errors.listing import documents_of, exit_code
from strongroom.errors.registry import from_documents
from strongroom.pipeline.background.errors import RunBusy
from strongroom.pipeline.planning.errors import RunExists, RunUnknown
from strongroom.pipeline.run.errors import RunFinished

T = TypeVar("T")
Role = Literal["controller", "supervisor"]
PATIENCE_S = 40.0
"""A controller ends its two brokers in order, and gives each ten seconds."""


class Ending(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How a controller ended on its own account: with what exit code, and for which errors."""

    exit_code: int
    errors: tuple[ErrorDocument, ...] = ()

    def error(self) -> StrongroomError:
        """The errors as they were shown."""
        return from_documents(self.errors)


def file_of(
    state: Path, run: str, kind: Literal["controller", "supervisor", "ended", "log"]
) -> Path:
    """The file of one kind that belongs to a run; a run's id holds no dot and no slash."""
    return state / "runs" / f"{check_run_id(run)}.{kind}"


@contextmanager
def hold(state: Path, run: str, role: Role) -> Iterator[None]:
    """Be the run's one ``role`` on this machine. Raises ``RunBusy`` if another process is."""
    path = file_of(state, run, role)
    private_folder(private_folder(state) / "runs")
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise StackFolderUnusable(place=str(path), actual=os.strerror(error.errno or 0)) from None
    try:
        if not _lock(descriptor):
            raise RunBusy(place=run, actual=f"another {role} in {state}")
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, msgspec.json.encode(identify(os.getpid())), 0)
        try:
            yield
        finally:
            os.ftruncate(descriptor, 0)  # the process may live on, and do something else
    finally:
        os.close(descriptor)


@contextmanager
def controlling(state: Path, run: str) -> Iterator[None]:
    """Be the run's controller: ended by SIGTERM as by Ctrl-C, and how it ended is kept.

    An interruption is no ending. Nor is a command that was refused since the run is another one, or
    done: what was kept before it stays.
    """
    with hold(state, run, "controller"), _sigterm_interrupts():
        path = file_of(state, run, "ended")
        before = path.read_bytes() if path.exists() else None
        path.unlink(missing_ok=True)
        try:
            yield
        except Exception as error:
            if before is not None and isinstance(error, RunExists | RunFinished | RunUnknown):
                write_private(path, before)
                raise
            known = error if isinstance(error, StrongroomError) else defect(error)
            _keep(path, Ending(exit_code(known), documents_of(known)))
            raise
        _keep(path, Ending(Exit.OK))


def holder(state: Path, run: str, role: Role) -> Process | None:
    """The process that is the run's ``role`` now, if there is one."""
    found = _read(file_of(state, run, role), Process)
    return found if found is not None and found.alive() else None


def held(state: Path, run: str) -> bool:
    """Whether a controller or a supervisor of the run is alive on this machine."""
    return bool(holder(state, run, "supervisor") or holder(state, run, "controller"))


def ending(state: Path, run: str) -> Ending | None:
    """How the run's last controller ended; None when it was interrupted, or never was."""
    return _read(file_of(state, run, "ended"), Ending)


def end_holders(state: Path, run: str) -> None:
    """End the run's processes: first the supervisor, which would start another controller."""
    roles: tuple[Role, ...] = ("supervisor", "controller")
    for role in roles:
        process = holder(state, run, role)
        if process is not None:
            stop(role, process, file_of(state, run, "log"), patience_s=PATIENCE_S)


def _lock(descriptor: int) -> bool:
    """Try for half a second: a process that is about to end lets go of its lock in that time."""
    for _ in range(10):
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            time.sleep(0.05)
        else:
            return True
    return False


def _keep(path: Path, found: Ending) -> None:
    write_private(path, msgspec.json.encode(found))


def _read(path: Path, kind: type[T]) -> T | None:
    try:
        return msgspec.json.decode(path.read_bytes(), type=kind)
    except (FileNotFoundError, msgspec.DecodeError):
        return None


@contextmanager
def _sigterm_interrupts() -> Iterator[None]:
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
