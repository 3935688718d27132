"""Google Cloud Storage buckets: reads by ``obstore``, conditional writes by Google's own client.

The version of an object is its generation. Small writes are one request; large ones are a
resumable upload, which makes no object unless it is finished (what is left of one expires after
a week). Proved against fake-gcs-server only, which knows no authentication and does not check
the condition of a resumable upload, so a race of two large creates is unproved there.
"""

from __future__ import annotations

import base64
import io
import itertools
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any

from google.api_core.exceptions import GoogleAPICallError
from google.auth.credentials import AnonymousCredentials
from google.auth.transport.requests import AuthorizedSession
from google.cloud import storage
from google.cloud.storage.exceptions import InvalidResponse
from google.cloud.storage.retry import DEFAULT_RETRY
from obstore.store import GCSStore
from requests.exceptions import RequestException

from strongroom.connectors.buckets.answers import from_answer, from_obstore, unreachable
from strongroom.connectors.buckets.bucket import ObjectInfo, ObjectVersion
from strongroom.connectors.buckets.endpoint import check_endpoint, is_loopback
from strongroom.connectors.buckets.errors import (
    BucketMissing,
    EndpointRefused,
    ObjectChanged,
    ObjectExists,
    ObjectMissing,
    StoreFault,
)
from strongroom.connectors.buckets.object_store import RETRY, ObjectStoreReader, alone
from strongroom.connectors.buckets.parts import parts
from strongroom.connectors.buckets.uri import Location
from strongroom.errors import StrongroomError

if TYPE_CHECKING:
    from obstore import ObjectMeta, PutResult
    from obstore.store import GCSCredential
    from typing_extensions import Buffer

PART_BYTES = 8 << 20
ABSENT = 0
"""The generation that means: there is no object."""


_RETRY = DEFAULT_RETRY.with_timeout(20.0)


def open_location(
    location: Location, _credentials: object, endpoint: str | None, _region: str
) -> GcsBucket:
    """See ``connectors.buckets.open``. Raises ``EndpointRefused``."""
    if endpoint is None or not is_loopback(endpoint):
        raise EndpointRefused(
            place=str(location),
            expected="a Google Cloud Storage emulator on a loopback address",
            actual=endpoint or "Google's own endpoint",
            remedy="Use an s3:// bucket; this release has no credentials for gs://",
        )
    check_endpoint(endpoint)
    return GcsBucket(location, endpoint)


class GcsBucket(ObjectStoreReader):
    """One bucket of an emulator; see ``connectors.buckets.bucket.Bucket``."""

    def __init__(self, location: Location, endpoint: str) -> None:
        store = GCSStore(
            location.bucket,
            config={"base_url": endpoint},
            client_options=alone(endpoint),
            retry_config=RETRY,
            # Without one, obstore would ask the metadata server of the machine for a token.
            credential_provider=_nobody,
        )
        super().__init__(location, store, endpoint)
        session = AuthorizedSession(AnonymousCredentials())
        session.trust_env = False
        client = storage.Client(
            project="none",
            credentials=AnonymousCredentials(),
            client_options={"api_endpoint": endpoint},
            _http=session,
        )
        self._bucket = client.bucket(location.bucket)

    def create(self, key: str, data: Buffer | Iterable[Buffer]) -> str:
        self._check(key)
        place = self._place(key)
        pieces = parts(data, PART_BYTES)
        first = next(pieces, memoryview(b""))
        second = next(pieces, None)
        try:
            if second is None:
                return self._put(key, first, ABSENT)
            self._refuse_existing(key)
            return self._put_large(key, itertools.chain([first, second], pieces))
        except ObjectChanged as error:
            actual = error.actual
        raise ObjectExists(place=place, expected="no object", actual=actual)

    def replace(self, key: str, data: Buffer, etag: str) -> str:
        self._check(key)
        place = self._place(key)
        if not etag.isascii() or not etag.isdigit() or int(etag) == ABSENT:
            raise ObjectChanged(place=place, expected=f"version {etag}", actual="no such version")
        try:
            return self._put(key, memoryview(data).cast("B"), int(etag))
        except (ObjectMissing, ObjectChanged) as error:
            actual = error.actual
        raise ObjectChanged(place=place, expected=f"version {etag}", actual=actual)

    def _put(self, key: str, data: memoryview, generation: int) -> str:
        def send(blob: storage.Blob) -> None:
            blob.upload_from_string(bytes(data), **_condition(generation))

        return self._written(key, send)

    def _put_large(self, key: str, pieces: Iterator[memoryview]) -> str:
        def send(blob: storage.Blob) -> None:
            blob.chunk_size = PART_BYTES
            blob.upload_from_file(source, **_condition(ABSENT))

        source = _Pieces(pieces)
        try:
            return self._written(key, send)
        except StrongroomError:
            if source.failure is None:
                raise
        raise source.failure

    def _written(self, key: str, send: Callable[[storage.Blob], None]) -> str:
        blob = self._bucket.blob(key)
        self._guarded(key, lambda: send(blob))
        if not blob.generation:
            raise StoreFault(place=self._place(key), expected="a generation", actual="none")
        return str(blob.generation)

    def _listed(self, prefix: str) -> Iterator[ObjectInfo]:
        # The listing of the XML API, which obstore reads, names no generations.
        found = iter(self._bucket.list_blobs(prefix=prefix or None, retry=_RETRY, timeout=(5, 60)))
        while (blob := self._guarded(prefix, lambda: next(found, None))) is not None:
            yield ObjectInfo(blob.name, int(blob.size), str(blob.generation))

    def versions(self, prefix: str) -> Iterator[ObjectVersion]:
        self._check_prefix(prefix)
        listed = self._bucket.list_blobs(
            prefix=prefix or None, versions=True, retry=_RETRY, timeout=(5, 60)
        )
        found = self._guarded(prefix, lambda: list(listed))
        for blob in sorted(found, key=lambda blob: (blob.name, -int(blob.generation))):
            yield ObjectVersion(
                key=blob.name,
                version=str(blob.generation),
                current=blob.time_deleted is None,
                deleted=False,
                etag="" if blob.md5_hash is None else base64.b64decode(blob.md5_hash).hex(),
                size_bytes=int(blob.size),
            )

    def _version(self, meta: ObjectMeta | PutResult, key: str) -> str:
        generation = meta["version"]
        if not generation:
            raise StoreFault(place=self._place(key), expected="a generation", actual="none")
        return str(generation)

    def _translate(self, error: Exception, place: str) -> StrongroomError:
        if isinstance(error, GoogleAPICallError):
            status = int(error.code or 0)
        elif isinstance(error, InvalidResponse):
            status = int(error.response.status_code)
        elif isinstance(error, RequestException):
            return unreachable(place, self._endpoint)
        else:
            return from_obstore(error, place, self._endpoint)
        if status == 404:
            # A write or a list misses nothing but its bucket; reads go through obstore.
            return BucketMissing(place=place, expected="a bucket", actual="HTTP 404")
        return from_answer(status, "", place)


def _nobody() -> GCSCredential:
    return {"token": "anonymous", "expires_at": None}


def _condition(generation: int) -> dict[str, Any]:
    return {
        "if_generation_match": generation,
        "retry": _RETRY,
        "timeout": (5, 120),
        "checksum": "crc32c",
    }


class _Pieces(io.RawIOBase):
    """The pieces of an upload as the file that Google's client wants to read from."""

    def __init__(self, pieces: Iterator[memoryview]) -> None:
        self._pieces = pieces
        self._rest = memoryview(b"")
        self._position = 0
        self.failure: Exception | None = None

    def readable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def read(self, size: int = -1) -> bytes:
        """Up to ``size`` bytes, fewer only at the end: the client takes less for the end."""
        found: list[bytes] = []
        wanted = size if size >= 0 else None
        while wanted is None or wanted > 0:
            if not self._rest:
                self._rest = self._next()
                if not self._rest:
                    break
            taken = self._rest if wanted is None else self._rest[:wanted]
            self._rest = self._rest[len(taken) :]
            found.append(bytes(taken))
            if wanted is not None:
                wanted -= len(taken)
        data = b"".join(found)
        self._position += len(data)
        return data

    def _next(self) -> memoryview:
        try:
            return next(self._pieces, memoryview(b""))
        except Exception as error:
            # The caller's own failure, which the client would hand back as one of the store.
            self.failure = error
            raise
