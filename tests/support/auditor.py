"""What an auditor sees of runs: the stack's buckets, the log, and copies that can be changed."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from botocore.exceptions import ClientError

from strongroom.audit.events.entries import Event, from_entry
from strongroom.audit.log.note import LogKey
from strongroom.audit.log.store import StoredVersion
from strongroom.audit.log.tlog import covered_by, covered_paths
from strongroom.audit.log.verify import Check, check_log, read_log
from strongroom.audit.report.model import ReportData
from strongroom.connectors.buckets.errors import ObjectMissing
from strongroom.connectors.stack.stack import admin_client
from strongroom.crypto.dsse import KeyRef, public_key
from strongroom.pipeline.broker.reading import ReadAccess
from strongroom.pipeline.embedded.owner import Embedded
from strongroom.pipeline.inspection.report import report_on
from strongroom.pipeline.inspection.trust import Trust
from strongroom.pipeline.inspection.verify import verify

LOG_ORIGIN = "acme-audit/strongroom"
CHECKPOINT = f"s3://{LOG_ORIGIN}/checkpoint"


class AdminLog:
    """The audit log's objects, read with the administrator's key."""

    def __init__(self, client: Any) -> None:
        self._client = client

    def read(self, key: str, **version: str) -> tuple[bytes, str] | None:
        """See ``audit.log.store.LogReader.read``."""
        try:
            found = self._client.get_object(Bucket="acme-audit", Key=f"strongroom/{key}", **version)
        except ClientError:
            return None
        return found["Body"].read(), found["ETag"]

    def read_many(self, keys: Sequence[str]) -> list[bytes | None]:
        """See ``LogReader.read_many``."""
        return [None if (found := self.read(key)) is None else found[0] for key in keys]

    def read_versions(self, key: str, versions: Sequence[str]) -> list[bytes | None]:
        """See ``LogReader.read_versions``."""
        found = (self.read(key, VersionId=version) for version in versions)
        return [None if each is None else each[0] for each in found]

    def versions(self) -> Iterator[StoredVersion]:
        """See ``LogReader.versions``."""
        pages = self._client.get_paginator("list_object_versions").paginate(
            Bucket="acme-audit", Prefix="strongroom/"
        )
        for page in pages:
            for each in (*page.get("Versions", ()), *page.get("DeleteMarkers", ())):
                yield StoredVersion(
                    each["Key"].removeprefix("strongroom/"),
                    each["VersionId"],
                    each["IsLatest"],
                    "ETag" not in each,
                    each.get("ETag", ""),
                )


class HeldLog:
    """A copy of a log, by name."""

    def __init__(self, objects: dict[str, bytes]) -> None:
        self._objects = objects

    def read(self, key: str) -> tuple[bytes, str] | None:
        """See ``LogReader.read``."""
        return (self._objects[key], "") if key in self._objects else None

    def read_many(self, keys: Sequence[str]) -> list[bytes | None]:
        """See ``LogReader.read_many``."""
        return [self._objects.get(key) for key in keys]

    def read_versions(self, key: str, versions: Sequence[str]) -> list[bytes | None]:
        """See ``LogReader.read_versions``; a copy is of the current ones."""
        return [None if version else self._objects.get(key) for version in versions]

    def versions(self) -> Iterator[StoredVersion]:
        """See ``LogReader.versions``."""
        for key, data in sorted(self._objects.items()):
            digest = hashlib.md5(data, usedforsecurity=False).hexdigest()
            yield StoredVersion(key, "", current=True, etag=digest)


class Auditor:
    """Buckets and log, seen by the administrator of the stack."""

    def __init__(self, stack: Embedded) -> None:
        self.client = admin_client(stack.state)
        self._log = AdminLog(self.client)
        self.vkey = LogKey(
            LOG_ORIGIN, public_key(KeyRef(stack.info.public_keys["audit-log"]))
        ).vkey()

    def objects(self, prefix: str, bucket: str = "acme-data") -> dict[str, int]:
        """Every object under ``prefix`` with its size, by its whole URI."""
        pages = self.client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix)
        return {
            f"s3://{bucket}/{item['Key']}": item["Size"]
            for page in pages
            for item in page.get("Contents", ())
        }

    def names(self, run: str) -> set[str]:
        """The objects in a run's folder, by their name in it."""
        return {uri.removeprefix(f"s3://acme-data/runs/{run}/") for uri in self.of(run)}

    def wrote(self, run: str, name: str) -> Callable[[], bool]:
        """Whether the run has written this object, when asked."""
        return lambda: name in self.names(run)

    def of(self, run: str) -> dict[str, int]:
        """The objects in a run's folder, by URI."""
        return self.objects(f"runs/{run}/")

    def get(self, uri: str) -> bytes:
        """One object."""
        bucket, _, key = uri.removeprefix("s3://").partition("/")
        data: bytes = self.client.get_object(Bucket=bucket, Key=key)["Body"].read()
        return data

    def put(self, uri: str, data: bytes) -> None:
        """Write an object, over whatever is there: what a hostile store can do."""
        bucket, _, key = uri.removeprefix("s3://").partition("/")
        self.client.put_object(Bucket=bucket, Key=key, Body=data)

    def every_event(self) -> list[Event]:
        """All runs' events, from the log verified as a whole."""
        return [from_entry(entry) for entry in read_log(self._log, self.vkey, LOG_ORIGIN).entries]

    def events(self, run: str) -> list[Event]:
        """A run's events."""
        return [event for event in self.every_event() if event.run == run]

    def types(self, run: str) -> list[str]:
        """The types of a run's events, in order."""
        return [str(event.data.__struct_config__.tag) for event in self.events(run)]

    def covered(self) -> set[str]:
        """The objects of the log that its checkpoint covers, and the checkpoint, by URI."""
        size = int(self.get(CHECKPOINT).split(b"\n")[1])
        paths = {path for path, _, _ in covered_paths(0, size)}
        paths |= covered_by([b""] * size).keys()
        return {f"s3://{LOG_ORIGIN}/{path}" for path in paths} | {CHECKPOINT}

    def check(self) -> list[Check]:
        """Every check of the log, with every object under its prefix accounted for."""
        return check_log(self._log, self.vkey, LOG_ORIGIN)[0]


Failures = set[tuple[str, str]]
"""The name and the object of each check that does not hold."""


class Copy:
    """What ``ReadAccess`` gives, kept: objects of a run, of its log and of its inputs."""

    def __init__(self, access: ReadAccess, objects: dict[str, bytes]) -> None:
        self.layout, self.audit = access.layout, access.audit
        self.objects = objects
        self._access = access

    @classmethod
    def of(cls, access: ReadAccess) -> Copy:
        """A copy of everything that is there now."""
        copy = cls(access, {})
        for prefix in (copy.layout.folder, copy.audit):
            for name in access.names(prefix):
                copy.refresh(prefix + name)
        return copy

    def holding(self, objects: dict[str, bytes]) -> Copy:
        """Another copy, of these objects."""
        return Copy(self._access, objects)

    def refresh(self, uri: str) -> None:
        """Read one object again."""
        self.objects.pop(uri, None)
        data = self._access.get(uri)
        if data is not None:
            self.objects[uri] = data

    def get(self, uri: str) -> bytes | None:
        """See ``ReadAccess.get``; inputs are read when they are asked for first."""
        if uri not in self.objects and not uri.startswith((self.layout.folder, self.audit)):
            self.refresh(uri)
        return self.objects.get(uri)

    def stream(self, uri: str) -> Iterator[memoryview]:
        """See ``ReadAccess.stream``."""
        data = self.get(uri)
        if data is None:
            raise ObjectMissing(place=uri)
        yield memoryview(data)

    def names(self, uri: str) -> list[str]:
        """See ``ReadAccess.names``."""
        return sorted(name.removeprefix(uri) for name in self.objects if name.startswith(uri))

    def log(self) -> HeldLog:
        """See ``RunReader.log``."""
        held = {name.removeprefix(self.audit): data for name, data in self.objects.items()}
        return HeldLog({name: data for name, data in held.items() if not name.startswith("s3:")})

    def checks(self, vkey: str) -> list[Check]:
        """Every check of ``strongroom verify`` on it."""
        return list(verify(self, self.layout.run, Trust(vkey)).checks)

    def report(self, vkey: str) -> ReportData:
        """What ``strongroom report`` says of it."""
        found = verify(self, self.layout.run, Trust(vkey))
        return report_on(found, self.layout.run)

    def failures(self, vkey: str) -> Failures:
        """What of it does not verify."""
        return {(check.name, check.object) for check in self.checks(vkey) if not check.ok}
