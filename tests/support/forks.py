"""A process that has imported a program, and runs it again and again in forks of itself.

Each run is a process with nothing of another's in its memory. What they share are the imports,
which take longer than what is tested.
"""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
import traceback
from collections.abc import Callable
from typing import Self

from support import PYTHONPATH


class Forks:
    """Runs ``main`` of a module, each time in a new process."""

    def __init__(self, module: str) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "support.forks", module],
            env=os.environ | PYTHONPATH,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.communicate()

    def run(self, *arguments: str | int) -> int:
        """How ``main(*arguments)`` ended: its exit status, or the negative number of a signal."""
        return self.begin(*arguments)()

    def begin(self, *arguments: str | int) -> Callable[[], int]:
        """Run ``main(*arguments)``; what is returned waits for its end, before any other begins."""
        stdin, stdout = self._process.stdin, self._process.stdout
        assert stdin is not None
        assert stdout is not None
        stdin.write(json.dumps(arguments) + "\n")
        stdin.flush()
        return lambda: int(stdout.readline())


def _serve(module: str) -> None:
    program = importlib.import_module(module)
    for line in sys.stdin:
        pid = os.fork()
        if pid == 0:
            status = 1
            try:
                program.main(*json.loads(line))
                status = 0
            except BaseException:
                traceback.print_exc()
            finally:
                os._exit(status)
        sys.stdout.write(f"{os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    _serve(sys.argv[1])
