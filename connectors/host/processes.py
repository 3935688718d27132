"""Detached processes (servers of the embedded stack, supervisors), known by pid *and* start time.

A pid alone may belong to another process by the time it is used: a process is signalled only when
its start time and the boot it started in match the record. Linux only (``/proc``).
"""

from __future__ import annotations

import os
import random
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import msgspec

from strongroom.connectors.host.errors import (
    StackBinaryMissing,
    StackFolderUnusable,
    StackPortTaken,
    StackStartFailed,
    StackStopFailed,
)
from strongroom.isolated.compiled import compiled_set
from strongroom.isolated.start import Child

START_LIMIT_S = 60.0
STOP_LIMIT_S = 3.0
RELEASE_LIMIT_S = 5.0
"""SeaweedFS can wait half a minute for its own idle connections; both servers survive SIGKILL."""
_FIRST_PORT = 15_000
_LAST_PORT = 32_000
_SERVERS = ("weed", "bao")

# Children of this very process: reaped when they end, so that they do not stay as zombies.
_children: dict[int, subprocess.Popen[bytes]] = {}


class Process(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A running process, as recorded. ``start_ticks`` count since the boot ``boot_id``."""

    pid: int
    start_ticks: int
    boot_id: str

    def alive(self) -> bool:
        """Whether exactly this process still runs (a zombie does not)."""
        child = _children.get(self.pid)
        if child is not None and child.poll() is not None:
            del _children[self.pid]
        return self == identify(self.pid)


def start(
    command: Sequence[str], *, folder: Path, environment: Mapping[str, str], log: Path
) -> Process:
    """Start a server in its own session, in ``folder``, with its output appended to ``log``.

    Its environment is exactly ``environment``. Raises ``StackBinaryMissing`` and
    ``StackStartFailed``.
    """
    try:
        with _appended(log) as output:
            child = subprocess.Popen(
                list(command),
                cwd=folder,
                env=dict(environment),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
                umask=0o077,
            )
    except OSError as error:
        raise StackBinaryMissing(place=command[0], actual=os.strerror(error.errno or 0)) from None
    return _known(child, log)


def start_module(
    module: str, arguments: Sequence[str], *, environment: Mapping[str, str], log: Path
) -> Process:
    """Start a Python process of ours in its own session, with its output appended to ``log``.

    Raises ``StackStartFailed``.
    """
    with _appended(log) as output:
        child = Child(
            module,
            arguments,
            environment=environment,
            measured=compiled_set(),
            stdout=output,
            stderr=output,
            start_new_session=True,
            umask=0o077,
        )
    return _known(child, log)


@contextmanager
def _appended(log: Path) -> Iterator[int]:
    try:
        output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise StackFolderUnusable(place=str(log), actual=os.strerror(error.errno or 0)) from None
    try:
        yield output
    finally:
        os.close(output)


def _known(child: subprocess.Popen[bytes], log: Path) -> Process:
    _children[child.pid] = child
    process = identify(child.pid)
    if process is None:
        raise StackStartFailed(place=str(log), actual=f"exit status {child.wait()}")
    return process


def wait_ready(name: str, process: Process, ready: Callable[[], bool], log: Path) -> None:
    """Wait until ``ready()``. Raises ``StackStartFailed`` when it ends or takes too long."""
    end = time.monotonic() + START_LIMIT_S
    while not ready():
        if not process.alive():
            raise StackStartFailed(place=str(log), actual=f"{name} ended while starting")
        if time.monotonic() > end:
            stop(name, process, log)
            raise StackStartFailed(
                place=str(log), actual=f"{name} was not ready after {START_LIMIT_S:.0f} s"
            )
        time.sleep(0.05)


def stop(name: str, process: Process, log: Path, *, patience_s: float = STOP_LIMIT_S) -> None:
    """End the process: SIGTERM, then SIGKILL after ``patience_s``. Nothing when it is gone."""
    for number, limit_s in ((signal.SIGTERM, patience_s), (signal.SIGKILL, 5.0)):
        if not process.alive():
            return
        try:
            os.kill(process.pid, number)
        except ProcessLookupError:
            return
        except PermissionError:
            break
        end = time.monotonic() + limit_s
        while process.alive() and time.monotonic() < end:
            time.sleep(0.02)
    if process.alive():
        raise StackStopFailed(place=str(log), actual=f"{name} with pid {process.pid} still runs")


def working_in(folder: Path) -> Process | None:
    """The process of this user whose working folder is ``folder``, if there is one.

    Finds a server whose start was not recorded because ``up`` was killed right after it.
    """
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        try:
            if entry.stat().st_uid == os.geteuid() and (entry / "cwd").samefile(folder):
                command = (entry / "cmdline").read_bytes().split(b"\0")[0]
                if Path(os.fsdecode(command)).name in _SERVERS:
                    return identify(int(entry.name))
        except OSError:
            continue
    return None


def free_ports(count: int, *, offset: int) -> list[int]:
    """``count`` ports of the loopback address that nobody listens on; so is the first ``+ offset``.

    Below the range that the kernel gives to outgoing connections, so that a stopped stack finds
    its ports free when it starts again.
    """
    candidates = random.SystemRandom().sample(range(_FIRST_PORT, _LAST_PORT - offset), 2_000)
    found: list[int] = []
    for port in candidates:
        wanted = (port,) if found else (port, port + offset)
        if all(_is_free(each) for each in wanted):
            found.append(port)
        if len(found) == count:
            return found
    raise StackPortTaken(place="127.0.0.1", actual="no free ports")


def _is_free(port: int) -> bool:
    try:
        check_free("", [port])
    except StackPortTaken:
        return False
    return True


def check_free(name: str, ports: Sequence[int]) -> None:
    """Raises ``StackPortTaken`` when another process listens on one of ``ports``.

    Waits a moment for each: of a server that was killed the first thread is gone before the last,
    which still holds the sockets.
    """
    end = time.monotonic() + RELEASE_LIMIT_S
    for port in ports:
        while (problem := _bind_error(port)) and time.monotonic() < end:
            time.sleep(0.05)
        if problem:
            raise StackPortTaken(
                place=f"127.0.0.1:{port}", expected=f"a free port for {name}", actual=problem
            )


def _bind_error(port: int) -> str:
    """Why ``port`` cannot be listened on; empty when it can."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            return os.strerror(error.errno or 0)
    return ""


def identify(pid: int) -> Process | None:
    """The process that has this pid now; None when there is none, or only a zombie."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
        boot_id = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except (FileNotFoundError, ProcessLookupError):
        return None
    # The command name is in parentheses and may hold anything; the fields follow the last one.
    fields = stat.rpartition(")")[2].split()
    state, start_ticks = fields[0], int(fields[19])
    return None if state in "ZX" else Process(pid, start_ticks, boot_id)
