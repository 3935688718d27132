"""Many processes that tell one releaser of their runs at once."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec

from strongroom.pipeline.releaser.client import ReleaserClient
from support.told import ADMITTED, LEASE, said

TESTS = Path(__file__).parents[1]
TELL = "import sys; sys.path.insert(0, sys.argv.pop(1)); from support.telling import main; main()"


def numbered(number: int) -> str:
    """The lease that is the event of this number."""
    return f"lease-{number:06d}"


def main() -> None:
    """Tell of a run, one event at a time; write the log's size after each."""
    path, run, count = sys.argv[1:]
    client = ReleaserClient(Path(path))
    sizes = [client.append([said(ADMITTED, run)])]
    for number in range(1, int(count)):
        lease = msgspec.structs.replace(LEASE, lease=numbered(number))
        sizes.append(client.append([said(lease, run)]))
    sys.stdout.write(" ".join(map(str, sizes)))


@contextmanager
def telling(path: Path, runs: list[str], count: int) -> Iterator[Callable[[], list[list[int]]]]:
    """A process for each run; the function waits for them and returns what they were told."""
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", TELL, str(TESTS), str(path), run, str(count)],
            stdout=subprocess.PIPE,
        )
        for run in runs
    ]

    def finished() -> list[list[int]]:
        written = [process.communicate()[0] for process in processes]
        assert [process.returncode for process in processes] == [0] * len(runs)
        return [[int(size) for size in each.split()] for each in written]

    try:
        yield finished
    finally:
        for process in processes:
            process.kill()
            process.wait()
            if process.stdout is not None:
                process.stdout.close()
