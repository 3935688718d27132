"""What reading a log costs, over the embedded stack's bucket: as ``status`` and as ``verify`` do.

Logs of some sizes are told by some number of runs, in appends of 50 entries. ``status`` is the
events of every run, from the log verified; ``verify`` is every check of the log, and of its entries
as events. Cold has no copy of the log; warm has one of all entries but the last 50.

    python bench/log_read.py [--sizes 1000,10000,100000] [--runs 5,50,500]
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import figures
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from strongroom.audit.events.entries import from_entry, new_event, to_entry
from strongroom.audit.events.order import check_history
from strongroom.audit.events.types import LeaseIssued
from strongroom.audit.log.copy import LogCopy
from strongroom.audit.log.note import LogKey
from strongroom.audit.log.sequencer import Sequencer
from strongroom.audit.log.store import DirectoryStore, LogReader
from strongroom.audit.log.verify import check_log, read_log
from strongroom.connectors.stack.stack import admin_client
from strongroom.enclave.plan.parts import LeaseRef
from strongroom.pipeline.broker import messages
from strongroom.pipeline.broker.reach import Reach
from strongroom.pipeline.broker.reading import BucketLog
from strongroom.pipeline.embedded import stack
from strongroom.pipeline.embedded.owner import Embedded

AT_ONCE = 50
WRITERS = 16
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


class Filled:
    """A log of ``size`` entries, in the audit bucket under a prefix of its own."""

    def __init__(self, embedded: Embedded, folder: Path, size: int, runs: int) -> None:
        private = Ed25519PrivateKey.generate()
        prefix = f"strongroom/{size}-{runs}/"
        self.origin = f"{embedded.info.audit_bucket}/{prefix}".rstrip("/")
        self.key = LogKey(self.origin, private.public_key().public_bytes_raw())
        self.runs = [f"run-{number}" for number in range(runs)]
        self.folder = folder
        self._info = embedded.info
        self._prefix = prefix
        entries = [
            to_entry(new_event(self.runs[at * runs // size], "broker", LEASE)) for at in range(size)
        ]
        self.warm = entries[:-AT_ONCE]
        local = DirectoryStore(folder / "log")
        log = Sequencer(local, LogCopy(), self.key, private.sign)
        log.start()
        put = admin_client(embedded.state).put_object
        for at in range(0, size, AT_ONCE):
            log.append(entries[at : at + AT_ONCE])
            note = local.read("checkpoint")
            put(Bucket=self._info.audit_bucket, Key=f"{prefix}checkpoint", Body=(note or (b"",))[0])

        def upload(key: str) -> None:
            body = (folder / "log" / key).read_bytes()
            put(Bucket=self._info.audit_bucket, Key=prefix + key, Body=body)

        with ThreadPoolExecutor(WRITERS) as pool:
            list(pool.map(upload, [key for key in local.keys() if key != "checkpoint"]))  # noqa: SIM118

    def reader(self) -> LogReader:
        """The log, under a lease that can only read it."""
        lease = LeaseRef(
            purpose="audit-read",
            bucket=f"s3://{self._info.audit_bucket}",
            role=self._info.roles["audit"],
            read=("strongroom/",),
            create=(),
            ttl_s=900,
            endpoint=self._info.s3_endpoint,
        )
        identity = messages.Identity(
            addr=self._info.vault_addr,
            credentials_file=str(self._info.identities["broker"]),
            oidc_role=self._info.oidc_roles["broker"],
        )
        reach = Reach(
            messages.Configure(run="bench", identity=identity, leases=(lease,)), lambda _: None
        )
        return BucketLog(
            *reach.bucket("audit-read", f"s3://{self._info.audit_bucket}/{self._prefix}")
        )

    @contextmanager
    def copy(self, *, warm: bool) -> Iterator[LogCopy]:
        """What a reader knows before: nothing, or all but the last append."""
        with tempfile.TemporaryDirectory(dir=self.folder) as place:
            known = LogCopy(Path(place) / "copy")
            if warm:
                edge, _ = known.edge.extend(self.warm)
                known.add(self.warm, edge, {"key": self.key.vkey().encode()})
                known.close()
                known = LogCopy(Path(place) / "copy")
            yield known
            known.close()


def status(log: Filled, known: LogCopy) -> None:
    """The events of every run."""
    view = read_log(log.reader(), log.key.vkey(), log.origin, known)
    for run in log.runs:
        assert [from_entry(entry) for _, entry in view.of_run(run)]


def verify(log: Filled, known: LogCopy) -> None:
    """Every check of the log."""
    checks, view = check_log(log.reader(), log.key.vkey(), log.origin, known)
    assert view is not None
    assert not [each for each in checks if not each.ok]
    assert not list(check_history(view.entries))


def seconds(
    read: Callable[[Filled, LogCopy], None], log: Filled, *, warm: bool
) -> tuple[float, float]:
    """Seconds by the clock, and of this process's CPU, which others on the machine disturb less."""
    with log.copy(warm=warm) as known:
        before, cpu = time.monotonic(), time.process_time()
        read(log, known)
        return round(time.monotonic() - before, 2), round(time.process_time() - cpu, 2)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", default="1000,10000,100000", help="entries")
    parser.add_argument("--runs", default="5,50,500", help="that tell them, for each size")
    parser.add_argument("--json", action="store_true", help="print one JSON object last")
    arguments = parser.parse_args()
    sizes, counts = (
        [int(each) for each in given.split(",")] for given in (arguments.sizes, arguments.runs)
    )
    rows = []
    print(f"$ {figures.command()}")
    with tempfile.TemporaryDirectory(prefix="strongroom-bench-") as folder:
        state = Path(folder) / "state"
        try:
            embedded = stack.up(state)
            for size, runs in zip(sizes, paired(counts, len(sizes)), strict=True):
                log = Filled(embedded, Path(folder) / f"{size}-{runs}", size, runs)
                row: dict[str, float] = {"entries": size, "runs": runs}
                for read in (status, verify):
                    for warm in (False, True):
                        name = f"{read.__name__}_{'warm' if warm else 'cold'}"
                        row[f"{name}_s"], row[f"{name}_cpu_s"] = seconds(read, log, warm=warm)
                rows.append(row)
                print("  ".join(f"{name} {value}" for name, value in row.items()), flush=True)
        finally:
            stack.down(state)
    if arguments.json:
        print(figures.document("log_read", {"reads": rows}))


def paired(counts: Sequence[int], length: int) -> list[int]:
    """A number of runs for each size: the first for the first one, the last for the others."""
    return [counts[min(at, len(counts) - 1)] for at in range(length)]


if __name__ == "__main__":
    main()
