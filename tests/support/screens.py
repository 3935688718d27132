"""Terminals, and what a person reads on them."""

from __future__ import annotations

import io
import os
import pty
import re
import subprocess
import termios
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from support.forks import Forks

_OWN = re.compile(r"\x1b\[\?25h\r|\r?\x1b\[[0-9;?]*[A-Za-z]")
_ENVIRONMENT = {"TERM": "xterm", "LANG": "C.UTF-8", "PATH": os.defpath}


class Screen(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


def plain(shown: str) -> str:
    """``shown`` without the colours and the moves that a command makes itself."""
    return _OWN.sub("", shown)


class Commands:
    """The command on terminals of its own, each time in a fork of a process that imported it."""

    def __init__(self, forks: Forks) -> None:
        self._forks = forks

    def __call__(
        self, *arguments: str, before: str = "", columns: int = 80, **environment: str
    ) -> tuple[int, bytes]:
        """Its exit code, and each byte that reached the terminal; ``before`` are changes to it."""
        kept = {**_ENVIRONMENT, **environment}
        with _terminal(columns) as (line, seen):
            code = self._forks.run(os.ttyname(line), kept, before, *arguments)
            os.close(line)
            return code, seen()


def on_terminal(command: Sequence[str]) -> tuple[int, bytes]:
    """The same of any program."""
    with _terminal(80) as (line, seen):
        process = subprocess.Popen(command, stdin=line, stdout=line, stderr=line, env=_ENVIRONMENT)
        os.close(line)
        return process.wait(), seen()


@contextmanager
def _terminal(columns: int) -> Iterator[tuple[int, Callable[[], bytes]]]:
    """A terminal's line, and what was written to it once nobody holds it any more."""
    screen, line = pty.openpty()
    termios.tcsetwinsize(line, (24, columns))
    shown = bytearray()
    reader = threading.Thread(target=_read, args=(screen, shown))
    reader.start()

    def seen() -> bytes:
        reader.join()
        return bytes(shown)

    try:
        yield line, seen
    finally:
        reader.join()
        os.close(screen)


def _read(screen: int, shown: bytearray) -> None:
    try:
        while piece := os.read(screen, 1 << 16):
            shown += piece
    except OSError:  # the other end is closed
        return
