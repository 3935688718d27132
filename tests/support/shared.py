"""What all workers of a session share: stacks, servers and runs, each made once.

Whoever asks first makes it, behind a file lock; the others read what was written down. A guardian
is started with the session. It waits for the end of its input, which comes when the session ends,
killed or not, and then stops every server below the folder and removes it.
"""

from __future__ import annotations

import fcntl
import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

MADE = "made.json"
PROCESS = "process.json"
STATE = "state"


class Shared:
    """Things that are made once a session, each in a folder of its own, by name."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

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
        self._process = subprocess.Popen(
            [sys.executable, __file__, str(self.folder)],
            stdin=subprocess.PIPE,
            start_new_session=True,  # an interrupt from the keyboard is the session's alone
        )

    def end(self) -> None:
        """Stop everything, and return when it has stopped."""
        self._process.communicate()


def stop_all(folder: Path) -> None:
    """Stop the stacks and servers that are recorded in ``folder``."""
    from strongroom.connectors.host import processes
    from strongroom.pipeline.embedded import stack

    for record in folder.glob(f"*/{PROCESS}"):
        process = processes.Process(**json.loads(record.read_text()))
        processes.stop(record.parent.name, process, record)
    for record in folder.glob(f"*/{STATE}/stack.json"):
        stack.down(record.parent)


if __name__ == "__main__":
    sys.stdin.read()
    place = Path(sys.argv[1])
    if any(place.iterdir()):
        stop_all(place)
    shutil.rmtree(place)
