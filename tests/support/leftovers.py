"""Threads and processes that outlive the tests that started them."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path

_PATIENCE_S = 5.0


class Leftovers:
    """What runs in this process and below it, beside what ran when this was made."""

    def __init__(self, shared: Path) -> None:
        self._shared = shared
        self._threads = set(threading.enumerate())
        self._children = set(_children())

    def found(self) -> list[str]:
        """Their names, after a moment for whatever is about to end."""
        end = time.monotonic() + _PATIENCE_S
        while (names := list(self._names())) and time.monotonic() < end:
            time.sleep(0.05)
        return names

    def _names(self) -> Iterator[str]:
        for thread in set(threading.enumerate()) - self._threads:
            yield f"thread {thread.name}"
        for pid in set(_children()) - self._children:
            place = Path(f"/proc/{pid}")
            try:
                words = place.joinpath("cmdline").read_bytes().split(b"\0")
                places = [place.joinpath("cwd").resolve(), *(Path(os.fsdecode(w)) for w in words)]
                if any(each.is_relative_to(self._shared) for each in places):
                    continue  # a server that the session's guardian stops
            except OSError:
                continue
            yield f"process {pid}: {os.fsdecode(b' '.join(words))[:200]}"


def _children() -> Iterator[int]:
    """Children of any thread of this process; those that only wait to be reaped do not count."""
    for task in Path("/proc/self/task").iterdir():
        try:
            pids = (task / "children").read_text().split()
        except OSError:
            continue
        for pid in map(int, pids):
            try:
                state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
            except OSError:
                continue
            if state not in "ZX":
                yield pid
