"""What all workers of a session share: stacks, servers and runs, each made once.

Whoever asks first makes it, behind a file lock; the others read what was written down. A guardian
is started with the session. Every process of the session holds a pipe to it open; once the last of
them has gone, killed or not, it stops every server below the folder and removes it.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

ALIVE = "alive"
MADE = "made.json"
PROCESS = "process.json"
STATE = "state"


class Shared:
    """Things that are made once a session, each in a folder of its own, by name."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._alive = os.open(folder / ALIVE, os.O_WRONLY)

    def close(self) -> None:
        """This process needs nothing of it any more."""
        os.close(self._alive)

    def once(self, name: str, make: Callable[[Path], Any]) -> Any:
        """What ``make`` returned to whoever asked first, as JSON."""
        place = self.folder / name
        place.mkdir(exist_ok=True)
        with (place / "lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            made = place / MADE
            if not made.exists():
                found = json.dumps(make(place))
                made.write_text(found)
            return json.loads(made.read_text())


class Guardian:
    """The process that ends what is shared."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="strongroom-tests-"))
        os.mkfifo(self.folder / ALIVE)
        self._process = subprocess.Popen(
            [sys.executable, __file__, str(self.folder)],
            stdin=subprocess.DEVNULL,
            start_new_session=True,  # an interrupt from the keyboard is the session's alone
        )

    def wait(self) -> None:
        """Return when everything has stopped; nobody may hold it open any more."""
        self._process.wait()


def stop_all(folder: Path) -> None:
    """Stop the stacks and servers that are recorded in ``folder``, if there are any."""
    if not any(place.is_dir() for place in folder.iterdir()):
        return
    from strongroom.connectors.host import processes
    from strongroom.pipeline.embedded import stack

    for record in folder.glob(f"*/{PROCESS}"):
        process = processes.Process(**json.loads(record.read_text()))
        processes.stop(record.parent.name, process, record)
    for record in folder.glob(f"*/{STATE}/stack.json"):
        stack.down(record.parent)


if __name__ == "__main__":
    place = Path(sys.argv[1])
    (place / ALIVE).read_bytes()
    stop_all(place)
    shutil.rmtree(place)
