"""A supervisor's controller, started with the state folder, the run's id and its parent's pid.

The same controller as in ``strongroom run``, for a run that ``--detach`` left in the state folder.
It dies with its supervisor; what it prints, one JSON document, goes to the run's log file.
"""

from __future__ import annotations

from pathlib import Path

from strongroom.enclave.sandbox import syscalls
from strongroom.pipeline import controller
from strongroom.pipeline.background import registry, run_locks
from strongroom.pipeline.cli.reporting import begin, reporting
from strongroom.pipeline.cli.runs.outcome import show_outcome
from strongroom.pipeline.run.watcher import Silent


def main(folder: str, run: str, parent: str) -> None:
    """Drive the run to its end; exits as ``strongroom run`` does."""
    syscalls.die_with_parent(int(parent))
    state = Path(folder)
    begin()
    with reporting(True):
        with run_locks.controlling(state, run):
            outcome = controller.run_or_resume(registry.reload(state, run), run, Silent())
        show_outcome(outcome, True)
