"""Reading a run's objects from this process, with leases that can only read.

For the commands that inspect a run (``verify``, ``report``, ``status``): control objects and sealed
bytes, never a key. The leases are those of the run, stripped of every right to create.
"""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from strongroom.audit.log.writer import CHECKPOINT
from strongroom.connectors.buckets.errors import ObjectMissing
from strongroom.enclave.plan.leases import plan_leases
from strongroom.enclave.plan.objects import RunLayout
from strongroom.enclave.plan.run_file import NormalisedRun
from strongroom.pipeline.broker import messages
from strongroom.pipeline.broker.reach import Reach
from strongroom.pipeline.planning.errors import IdentityMissing
from strongroom.pipeline.runfile.spec import RunSpec


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

    def _purpose(self, uri: str) -> str:
        if uri.startswith(self.audit):
            return "audit-append"
        return "run-read" if uri.startswith(self.layout.folder) else "data-read"


class ReadOnlyLog:
    """``audit.log.store.LogStore`` over read access; it refuses to write."""

    def __init__(self, access: ReadAccess) -> None:
        self._access = access
        self._fetched: dict[str, bytes] = {}

    def read(self, key: str) -> tuple[bytes, str] | None:
        """See ``LogStore.read``; the tag is not used by readers.

        A log's objects are written once, all but its checkpoint, so each is fetched once at most.
        """
        data = self._fetched.get(key)
        if data is None:
            data = self._access.get(self._access.audit + key)
            if data is not None and key != CHECKPOINT:
                self._fetched[key] = data
        return None if data is None else (data, "")

    def create(self, key: str, data: bytes) -> bool:
        """Never: an inspection writes nothing."""
        raise PermissionError(key)

    def replace(self, key: str, data: bytes, etag: str) -> bool:
        """Never: an inspection writes nothing."""
        raise PermissionError(key)

    def keys(self) -> list[str]:
        """Names of all objects of the log."""
        return self._access.names(self._access.audit)
