"""A log in the audit bucket, through a broker that holds a lease for it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from strongroom.audit.log.store import StoredVersion
from strongroom.connectors.buckets.uri import parse
from strongroom.enclave.plan.parts import Purpose
from strongroom.pipeline.broker.client import BrokerClient


class BrokerLog:
    """``audit.log.store.LogStore`` over a broker: objects under the audit prefix."""

    def __init__(self, broker: BrokerClient, prefix: str, purpose: Purpose) -> None:
        self._broker = broker
        self._prefix = prefix
        self._purpose = purpose

    def read(self, key: str) -> tuple[bytes, str] | None:
        """See ``LogReader.read``."""
        stored = self._broker.read(self._prefix + key, self._purpose)
        return None if stored is None else (stored.data, stored.etag)

    def read_many(self, keys: Sequence[str]) -> list[bytes | None]:
        """See ``LogReader.read_many``."""
        return self._broker.read_many([self._prefix + key for key in keys], self._purpose)

    def read_versions(self, key: str, versions: Sequence[str]) -> list[bytes | None]:
        """See ``LogReader.read_versions``."""
        uri = self._prefix + key
        return [self._broker.read_version(uri, self._purpose, version) for version in versions]

    def versions(self) -> Iterator[StoredVersion]:
        """See ``LogReader.versions``."""
        for each in self._broker.versions(self._prefix, self._purpose):
            yield StoredVersion(
                each.name, each.version, each.current, each.deleted, each.etag, each.size_bytes
            )

    def create(self, key: str, data: bytes) -> bool:
        """See ``LogStore.create``."""
        return self._broker.create(self._prefix + key, self._purpose, data)

    def replace(self, key: str, data: bytes, etag: str) -> bool:
        """See ``LogStore.replace``."""
        return self._broker.replace(self._prefix + key, self._purpose, data, etag)


def log_origin(audit_uri: str) -> str:
    """The log's name: the audit prefix without its scheme."""
    location = parse(audit_uri)
    return f"{location.bucket}/{location.key}".rstrip("/")
