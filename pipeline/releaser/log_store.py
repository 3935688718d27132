"""The log's bucket as its sequencer sees it: through a broker process, which has the lease."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Final, TypeVar

from strongroom.audit.events import types as events
from strongroom.audit.log.store import StoredVersion
from strongroom.connectors.buckets.uri import parse
from strongroom.enclave.plan.parts import LeaseRef
from strongroom.pipeline.broker import messages
from strongroom.pipeline.broker.client import BrokerClient
from strongroom.pipeline.broker.errors import BrokerLost
from strongroom.pipeline.broker.log import BrokerLog
from strongroom.pipeline.releaser.config import LogSettings

PURPOSE: Final = "audit-append"
T = TypeVar("T")


class LeasedLog:
    """``audit.log.store.LogStore`` in the bucket of ``settings``.

    The broker is started when it is first needed, and again after it was lost. Not thread safe: the
    sequencer commits one at a time.
    """

    def __init__(self, settings: LogSettings) -> None:
        self.on_lease: Callable[[events.LeaseIssued], None] = lambda _lease: None
        """Called with each lease that the broker takes."""
        self._settings = settings
        self._broker: BrokerClient | None = None

    def read(self, key: str) -> tuple[bytes, str] | None:
        """See ``LogReader.read``."""
        return self._asking(lambda log: log.read(key))

    def read_many(self, keys: Sequence[str]) -> list[bytes | None]:
        """See ``LogReader.read_many``."""
        return self._asking(lambda log: log.read_many(keys))

    def read_versions(self, key: str, versions: Sequence[str]) -> list[bytes | None]:
        """See ``LogReader.read_versions``."""
        return self._asking(lambda log: log.read_versions(key, versions))

    def versions(self) -> Iterator[StoredVersion]:
        """See ``LogReader.versions``."""
        return self._asking(lambda log: log.versions())

    def create(self, key: str, data: bytes) -> bool:
        """See ``LogStore.create``."""
        return self._asking(lambda log: log.create(key, data))

    def replace(self, key: str, data: bytes, etag: str) -> bool:
        """See ``LogStore.replace``."""
        return self._asking(lambda log: log.replace(key, data, etag))

    def close(self) -> None:
        """End the broker."""
        if self._broker is not None:
            self._broker.close()
            self._broker = None

    def _asking(self, ask: Callable[[BrokerLog], T]) -> T:
        if self._broker is None:
            self._broker = self._started()
        try:
            return ask(BrokerLog(self._broker, self._settings.uri, PURPOSE))
        except BrokerLost:
            self.close()
            raise

    def _started(self) -> BrokerClient:
        settings = self._settings
        broker = BrokerClient(lambda _report: None, lambda lease: self.on_lease(lease))
        identity = messages.Identity(
            addr=settings.vault_addr,
            credentials_file=settings.credentials_file,
            oidc_role=settings.oidc_role,
        )
        leases = (log_lease(settings),)
        try:
            broker.configure(messages.Configure(run="log", identity=identity, leases=leases))
        except BaseException:
            broker.close()
            raise
        return broker


def log_lease(settings: LogSettings) -> LeaseRef:
    """The releaser's one lease; no run has one that may create under the log's prefix."""
    location = parse(settings.uri)
    return LeaseRef(
        purpose=PURPOSE,
        bucket=f"{location.scheme}://{location.bucket}",
        role=settings.role,
        read=(location.key,),
        create=(location.key,),
        ttl_s=settings.ttl_s,
        endpoint=settings.endpoint,
    )
