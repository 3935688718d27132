"""Processes to lock down: each test runs its piece of code in a fresh interpreter."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
from collections.abc import Callable
from typing import Any

import pytest

from support.users import nobody

_PRELUDE = """
import ctypes, json, os, resource, signal, socket, sys
from pathlib import Path
from strongroom.enclave.sandbox import lockdown, probes, syscalls
FD, STAGE = int(sys.argv[1]), sys.argv[2]
def report(value):
    os.write(FD, json.dumps(value).encode())
    os._exit(0)
def attempt(action):
    try:
        action()
    except OSError as error:
        return error.errno
    return 0
def lock():
    if STAGE in ("A", "AB"):
        lockdown.lock_files_and_network()
    if STAGE == "AB":
        lockdown.lock_system_calls()
"""


class Inside:
    """Runs code in a new process and returns what it reports.

    The code calls ``lock()`` (stages ``none``, ``A`` or ``AB``), and then ``report(value)``.
    """

    def __init__(self, user: list[str]) -> None:
        self._user = user

    def __call__(
        self, code: str, stage: str = "AB", *, look: Callable[[int], Any] | None = None
    ) -> Any:
        """The reported value; with ``look``, what ``look(pid)`` returns while the child waits."""
        status, text = self.raw(code, stage, look=look)
        assert status == 0, f"ended with {status}"
        return json.loads(text)

    def raw(
        self, code: str, stage: str = "AB", *, look: Callable[[int], Any] | None = None
    ) -> tuple[int, bytes]:
        """Exit status and what was reported."""
        ours, theirs = os.pipe()
        program = _PRELUDE + textwrap.dedent(code)
        process = subprocess.Popen(
            [*self._user, sys.executable, "-I", "-B", "-c", program, str(theirs), stage],
            pass_fds=[theirs],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            env={"HOME": "/nonexistent"},
        )
        os.close(theirs)
        assert process.stderr is not None
        with process, os.fdopen(ours, "rb") as pipe:
            if look is not None:
                pipe.peek(1)  # it has reported something: it is locked
                seen = look(process.pid)
                process.kill()
                return 0, json.dumps(seen).encode()
            text = pipe.read()
            complaint = process.stderr.read().decode()
        sys.stderr.write(complaint)
        return process.returncode, text


@pytest.fixture
def inside() -> Inside:
    """A process of this user."""
    return Inside([])


@pytest.fixture(params=["this user", "nobody"])
def inside_as(request: pytest.FixtureRequest) -> Inside:
    """A process of this user, then of one without privileges."""
    if request.param == "this user":
        return Inside([])
    command = nobody()
    if isinstance(command, str):
        pytest.skip(command)
    return Inside([*command])
