"""How commands show what they do while it takes long."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

from strongroom.pipeline.cli.console import Output, err, out
from strongroom.pipeline.cli.progress import Terminal
from strongroom.pipeline.run.watcher import Silent, Watcher


def watching(as_json: bool, steps: int, output: Output = out) -> AbstractContextManager[Watcher]:
    """Bars on a terminal, nothing for ``--json``."""
    return nullcontext(Silent()) if as_json else Terminal(output, steps)


def following(as_json: bool) -> AbstractContextManager[Watcher]:
    """The same for commands whose output is their result: beside it, and on a terminal only."""
    return watching(as_json, 0, err) if err.is_terminal else watching(True, 0)
