"""How fast the releaser takes events into the log, over the embedded stack with all its servers.

Runs tell it of one event at a time and wait until a signed checkpoint covers it, as a training does
between its steps; each run is a process. Prints the median and the 90th percentile of one append,
and entries per second of all runs together.

    python bench/log_append.py [--events 100] [--runs 1,4,8]
"""

from __future__ import annotations

import argparse
import multiprocessing
import statistics
import tempfile
import time
from multiprocessing.synchronize import Barrier
from pathlib import Path
from typing import Any

import figures

from strongroom.audit.events.entries import new_event
from strongroom.audit.events.types import LeaseIssued
from strongroom.pipeline.embedded import stack
from strongroom.pipeline.releaser.client import ReleaserClient

LEASE = LeaseIssued(
    lease="0123456789abcdef",
    purpose="data-read",
    role="arn:aws:iam::000000000000:role/strongroom",
    bucket="acme-data",
    read=("datasets/feedback/train/", "datasets/feedback/held-out/", "models/"),
    create=(),
    ttl_s=900,
    expires_at="2026-01-02T03:04:05.678Z",
)
"""An event that any run may tell at any time, and of a usual length."""


def tell(socket: Path, run: str, events: int, start: Barrier, took: Any) -> None:
    """One run: how long each of its appends took."""
    releaser = ReleaserClient(socket)
    releaser.append([new_event(run, "broker", LEASE)])
    start.wait()
    began = time.monotonic()
    each = []
    for _ in range(events):
        event = new_event(run, "broker", LEASE)
        before = time.monotonic()
        releaser.append([event])
        each.append(time.monotonic() - before)
    took.put((began, time.monotonic(), each))


def measure(socket: Path, runs: int, events: int) -> dict[str, float]:
    """``runs`` at once."""
    context = multiprocessing.get_context("fork")
    start, took = context.Barrier(runs), context.Queue()
    names = [f"bench-{runs}-{number}" for number in range(runs)]
    told = [
        context.Process(target=tell, args=(socket, name, events, start, took)) for name in names
    ]
    for process in told:
        process.start()
    found = [took.get() for _ in told]
    for process in told:
        process.join()
    appends = sorted(second for _, _, each in found for second in each)
    whole = max(end for _, end, _ in found) - min(began for began, _, _ in found)
    return {
        "runs": runs,
        "median_ms": round(1000 * statistics.median(appends), 1),
        "p90_ms": round(1000 * appends[int(0.9 * len(appends))], 1),
        "entries_per_s": round(runs * events / whole, 1),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, default=100, help="of each run")
    parser.add_argument("--runs", default="1,4,8", help="how many at once, one after another")
    parser.add_argument("--json", action="store_true", help="print one JSON object last")
    arguments = parser.parse_args()
    print(f"$ {figures.command()}")
    with tempfile.TemporaryDirectory(prefix="strongroom-bench-") as folder:
        state = Path(folder) / "state"
        try:
            socket = stack.up(state).releaser_socket
            rows = [measure(socket, int(n), arguments.events) for n in arguments.runs.split(",")]
        finally:
            stack.down(state)
    for row in rows:
        print(
            f"{row['runs']} at once: median {row['median_ms']} ms, p90 {row['p90_ms']} ms, "
            f"{row['entries_per_s']} entries/s"
        )
    if arguments.json:
        print(figures.document("log_append", {"events": arguments.events, "appends": rows}))


if __name__ == "__main__":
    main()
