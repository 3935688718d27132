"""Processes by descent: what a command has started, and who of it is who."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from strongroom.pipeline.background import run_locks

BROKER = "strongroom.pipeline.broker.process"


@dataclass(frozen=True)
class Process:
    """One process as /proc tells it."""

    pid: int
    parent: int
    started: str
    command: str

    def alive(self) -> bool:
        """Whether it, and not another with its id, still runs."""
        found = look(self.pid)
        return found is not None and found.started == self.started

    def kill(self) -> None:
        """End it without a word."""
        os.kill(self.pid, signal.SIGKILL)


def look(pid: int) -> Process | None:
    """The process ``pid``, unless it is gone or only waits to be reaped."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        command = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return None if stat[0] in "ZX" else Process(pid, int(stat[1]), stat[19], command)


def below(pid: int) -> list[Process]:
    """Every process that descends from ``pid``."""
    names = [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()]
    everybody = [process for process in map(look, names) if process is not None]
    family = {pid}
    while True:
        more = {process.pid for process in everybody if process.parent in family} - family
        if not more:
            return [process for process in everybody if process.pid in family - {pid}]
        family |= more


def alive(family: list[Process]) -> list[Process]:
    """Those that still run."""
    return [process for process in family if process.alive()]


def enclave_of(controller: int) -> Process | None:
    """The enclave: the child of a broker. Its own child is the evaluator."""
    family = below(controller)
    brokers = {process.pid for process in family if BROKER in process.command}
    return next((process for process in family if process.parent in brokers), None)


def broker_of(controller: int, *, data: bool) -> Process:
    """The data broker, which has the enclave; or the log broker, which has no child."""
    enclave = enclave_of(controller)
    assert enclave is not None
    brokers = [process for process in below(controller) if BROKER in process.command]
    [found] = [process for process in brokers if (process.pid == enclave.parent) is data]
    return found


@contextmanager
def stopped(pids: list[int]) -> Iterator[None]:
    """These processes stand still meanwhile."""
    for each in pids:
        os.kill(each, signal.SIGSTOP)
    try:
        yield
    finally:
        for each in pids:
            os.kill(each, signal.SIGCONT)


def holder(state: Path, run: str, role: run_locks.Role) -> int:
    """The pid of a run's supervisor or controller on this machine; 0 if there is none."""
    process = run_locks.holder(state, run, role)
    return process.pid if process else 0
