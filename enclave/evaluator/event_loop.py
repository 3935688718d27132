"""An event loop for a process that may open no descriptor: all it can wait for is time.

An evaluator has no network and no files, so its coroutines await timers and each other. Running
several calls at once shortens such waits; it makes no computation faster.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Coroutine, Iterable, Iterator
from typing import Any, TypeVar

T = TypeVar("T")


def in_order(coroutines: Iterable[Coroutine[Any, Any, T]], at_once: int) -> Iterator[T]:
    """The results in the order of ``coroutines``, of which at most ``at_once`` run at a time.

    Raises what the first of them in that order raises, and cancels the others.
    """
    loop = _Loop()
    running: deque[asyncio.Task[T]] = deque()
    try:
        for coroutine in coroutines:
            running.append(loop.create_task(coroutine))
            if len(running) == at_once:
                yield loop.run_until_complete(running.popleft())
        while running:
            yield loop.run_until_complete(running.popleft())
    finally:
        loop.close()


class _Sleeper:
    """A selector without descriptors."""

    def select(self, timeout: float | None) -> list[Any]:
        """Sleep; there is no event to report."""
        time.sleep(timeout or 0)
        return []


class _Loop(asyncio.BaseEventLoop):
    def __init__(self) -> None:
        super().__init__()
        self._selector = _Sleeper()

    def _process_events(self, _: Any) -> None: ...

    def _write_to_self(self) -> None: ...
