"""Reading a run's objects from this process, with leases that can only read.

For the commands that inspect a run (``verify``, ``report``, ``status``): control objects and sealed
bytes, never a key. The leases are those of the run, stripped of every right to create.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol

import msgspec

from strongroom.audit.log.store import LogReader, StoredVersion
from strongroom.connectors.buckets.bucket import Bucket
from strongroom.connectors.buckets.errors import ObjectMissing
from strongroom.enclave.plan.leases import plan_leases
from strongroom.enclave.plan.objects import RunLayout
from strongroom.enclave.plan.run_file import NormalisedRun
from strongroom.pipeline.broker import messages
from strongroom.pipeline.broker.reach import Reach
from strongroom.pipeline.planning.errors import IdentityMissing
from strongroom.pipeline.runfile.spec import RunSpec

READS_AT_ONCE = 16


class RunReader(Protocol):
    """Objects of one run, of its inputs and of its log, by URI."""

    layout: RunLayout
    audit: str
    """The log's prefix."""

    def get(self, uri: str) -> bytes | None:
        """An object's bytes; None when there is none."""
        ...

    def stream(self, uri: str) -> Iterator[memoryview]:
        """An object's bytes in pieces. Raises ``ObjectMissing``."""
        ...

    def names(self, uri: str) -> list[str]:
        """Names of all objects below a prefix, relative to it."""
        ...

    def log(self) -> LogReader:
        """The run's log."""
        ...


class ReadAccess:
    """Objects of one run and of its log, by URI."""

    def __init__(self, spec: RunSpec, run: str) -> None:
        identity = spec.spec.identity
        if identity is None:
            raise IdentityMissing(place="spec.identity")
        self.layout = RunLayout(spec.spec.outputs, run)
        self.audit = spec.spec.audit
        leases = plan_leases(NormalisedRun.of(spec.normalised()), self.layout)
        read_only = (msgspec.structs.replace(ref, create=()) for ref in leases if ref.read)
        self._reach = Reach(
            messages.Configure(
                run=run,
                identity=messages.Identity(
                    addr=identity.addr,
                    credentials_file=str(identity.credentials),
                    oidc_role=identity.oidc_role,
                ),
                leases=tuple(read_only),
            ),
            lambda _lease: None,
        )

    def get(self, uri: str) -> bytes | None:
        """An object's bytes; None when there is none."""
        bucket, key = self._reach.bucket(self._purpose(uri), uri)
        try:
            return b"".join(bytes(piece) for piece in bucket.stream(key))
        except ObjectMissing:
            return None

    def stream(self, uri: str) -> Iterator[memoryview]:
        """An object's bytes in pieces. Raises ``ObjectMissing``."""
        bucket, key = self._reach.bucket(self._purpose(uri), uri)
        for piece in bucket.stream(key):
            yield memoryview(piece).cast("B")

    def names(self, uri: str) -> list[str]:
        """Names of all objects below a prefix, relative to it."""
        bucket, key = self._reach.bucket(self._purpose(uri), uri)
        return sorted(info.key.removeprefix(key) for info in bucket.list(key))

    def log(self) -> LogReader:
        """The run's log."""
        return BucketLog(*self._reach.bucket("audit-read", self.audit))

    def _purpose(self, uri: str) -> str:
        if uri.startswith(self.audit):
            return "audit-read"
        return "run-read" if uri.startswith(self.layout.folder) else "data-read"


class BucketLog:
    """``audit.log.store.LogReader`` of a log in a bucket."""

    def __init__(self, bucket: Bucket, prefix: str) -> None:
        self._bucket, self._prefix = bucket, prefix

    def read(self, key: str) -> tuple[bytes, str] | None:
        """See ``LogReader.read``."""
        try:
            return self._bucket.get(self._prefix + key)
        except ObjectMissing:
            return None

    def read_many(self, keys: Sequence[str]) -> list[bytes | None]:
        """See ``LogReader.read_many``."""
        with ThreadPoolExecutor(READS_AT_ONCE) as pool:
            found = list(pool.map(self.read, keys))
        return [None if each is None else each[0] for each in found]

    def read_versions(self, key: str, versions: Sequence[str]) -> list[bytes | None]:
        """See ``LogReader.read_versions``."""

        def read(version: str) -> bytes | None:
            try:
                return self._bucket.get_version(self._prefix + key, version)
            except ObjectMissing:
                return None

        with ThreadPoolExecutor(READS_AT_ONCE) as pool:
            return list(pool.map(read, versions))

    def versions(self) -> Iterator[StoredVersion]:
        """See ``LogReader.versions``."""
        for each in self._bucket.versions(self._prefix):
            name = each.key.removeprefix(self._prefix)
            yield StoredVersion(
                name, each.version, each.current, each.deleted, each.etag, each.size_bytes
            )
