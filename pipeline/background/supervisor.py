"""The supervisor of a detached run, started with the state folder and the run's id.

It starts the run's controller, and starts it again where that was killed, or failed for a reason
that lies with the platform. It knows a run's id: it reads no run file, opens no connection, and
holds no credential, no key and no row. Its controller dies with it.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import time
from pathlib import Path

from strongroom.errors import Exit, Fault, StrongroomError
from strongroom.errors.defect import defect
from strongroom.errors.visible import visible
from strongroom.isolated.compiled import compiled_set
from strongroom.isolated.start import Child, user_environment
from strongroom.pipeline.background import run_locks
from strongroom.pipeline.background.errors import RunBusy

PAUSES_S = (0.0, 2.0, 10.0, 30.0)
"""Before each start of a controller; after the last one the run is left to a person."""


def supervise(state: Path, run: str) -> None:
    """Drive a run until it ended, or cannot be helped. SIGTERM ends it, and its controller."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with run_locks.hold(state, run, "supervisor"), contextlib.suppress(KeyboardInterrupt):
        for pause_s in PAUSES_S:
            time.sleep(pause_s)
            _run_controller(state, run)
            if not worth_another_try(run_locks.ending(state, run)):
                return


def worth_another_try(ending: run_locks.Ending | None) -> bool:
    """Whether a controller that ended so was killed, or failed through no fault of the run."""
    if ending is None:
        return True
    platform = all(error.fault == Fault.PLATFORM for error in ending.errors)
    return ending.exit_code == Exit.FAILED and platform


def _run_controller(state: Path, run: str) -> None:
    module = "strongroom.pipeline.cli.runs.detached_controller"
    # What it prints goes where this process's output goes, the run's log.
    child = Child(
        module,
        (str(state), run, str(os.getpid())),
        environment=user_environment(),
        measured=compiled_set(),
        stdout=None,
        stderr=None,
    )
    try:
        child.wait()
    except KeyboardInterrupt:
        child.terminate()
        child.wait()
        raise


def main(state: str, run: str) -> None:
    """Entry of the process."""
    try:
        supervise(Path(state), run)
    except RunBusy:
        pass  # somebody else was quicker, and drives the run
    except Exception as error:
        # A line in the run's log, and no traceback.
        sys.exit(visible(str(error if isinstance(error, StrongroomError) else defect(error))))
