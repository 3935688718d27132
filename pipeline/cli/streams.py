"""Standard streams that end no command, whatever lies behind them.

Whatever the encoding lacks is spelled out. A reader that leaves (``| head``) is quietly done
without. Where a stream is closed from the start, nobody wants to hear. After any other failure,
as of a full disk, the command goes on, and ``loss`` tells of it at its end.
"""

from __future__ import annotations

import io
import os
import sys
from typing import TextIO

from strongroom.errors.visible import SPELLED


class Stream(io.TextIOWrapper):
    """A stream over a descriptor, which leads nowhere once writing to it has failed."""

    lost: OSError | None = None

    def write(self, text: str, /) -> int:
        """See ``TextIOWrapper``; never fails."""
        try:
            return super().write(text)
        except OSError as error:
            self._lose(error)
        return len(text)

    def flush(self) -> None:
        """See ``TextIOWrapper``; never fails."""
        try:
            super().flush()
        except OSError as error:
            self._lose(error)

    def _lose(self, error: OSError) -> None:
        if not isinstance(error, BrokenPipeError):
            self.lost = error
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, self.fileno())
        os.close(null)
        super().flush()  # what the buffer still holds


def take_over() -> None:
    """Make standard output and error of this process such streams. Call it before all else."""
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:  # else the next file that is opened would be taken for it
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)
    sys.stdout, sys.stderr = _stream(sys.stdout, 1), _stream(sys.stderr, 2)


def loss() -> OSError | None:
    """What kept standard output from being written since this was last asked, if anything did."""
    sys.stdout.flush()
    if not isinstance(sys.stdout, Stream):
        return None
    lost, sys.stdout.lost = sys.stdout.lost, None
    return lost


def _stream(given: TextIO | None, descriptor: int) -> Stream:
    encoding = "utf-8" if given is None else given.encoding
    buffer = io.BufferedWriter(io.FileIO(descriptor, "w", closefd=False))
    return Stream(buffer, encoding=encoding, errors=SPELLED, line_buffering=True)
