"""S3 buckets: reads and single conditional puts by ``obstore``, larger writes by ``boto3``.

What fits ``PUT_BYTES`` is one put, whose ``If-None-Match`` both AWS and SeaweedFS decide
atomically. More goes through a multipart upload with ``If-None-Match`` on its completion, which
obstore cannot do. AWS documents that as atomic, too; SeaweedFS 4.48 is not: of 8 uploads that
completed at one instant more than one won in 17 of 25 rounds (of 8 puts always one). So a
completion is preceded and followed by a look at the key, and a process makes one at a time; what
stays on SeaweedFS are writers in different processes within milliseconds, where the one that was
overwritten is told ``ObjectExists`` unless its look came before the other's write.

AWS differs in two answers. A role that may list below prefixes only may get ``AccessDenied`` for a
key that is not there; then a list of this one key decides. Of racing conditional puts one may get
``ConditionalRequestConflict``, which says to try again; so it is tried again.

A role that creates needs ``s3:AbortMultipartUpload`` beside ``s3:PutObject``, and for the looks
``s3:GetObject``. Tested against SeaweedFS, never against AWS.
"""

from __future__ import annotations

import contextlib
import itertools
import threading
import time
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import obstore
from obstore.store import S3Store

from strongroom.connectors.access.boto import Client
from strongroom.connectors.access.credentials import CredentialSource
from strongroom.connectors.buckets import aws
from strongroom.connectors.buckets.answers import from_boto, from_obstore
from strongroom.connectors.buckets.bucket import ObjectVersion
from strongroom.connectors.buckets.endpoint import check_endpoint
from strongroom.connectors.buckets.errors import (
    AccessDenied,
    BucketError,
    CredentialsExpired,
    CredentialsMissing,
    CredentialsRefused,
    ObjectChanged,
    ObjectExists,
    ObjectMissing,
    ObjectTooLarge,
    StoreBusy,
)
from strongroom.connectors.buckets.object_store import RETRY, ObjectStoreReader, alone
from strongroom.connectors.buckets.parts import parts
from strongroom.connectors.buckets.uri import Location
from strongroom.errors import StrongroomError

if TYPE_CHECKING:
    from obstore import GetOptions, GetResult, PutMode
    from typing_extensions import Buffer

PUT_BYTES = 64 << 20
PART_BYTES = 8 << 20
MAX_PARTS = 10_000
PARTS_IN_FLIGHT = 3
CONFLICT = "ConditionalRequestConflict"
CONFLICT_PAUSES_S = (0.2, 0.5, 1.0)

_COMPLETING = threading.Lock()


def open_location(
    location: Location, credentials: CredentialSource | None, endpoint: str | None, region: str
) -> S3Bucket:
    """See ``connectors.buckets.open``. Raises ``CredentialsMissing`` and ``EndpointRefused``."""
    if endpoint is not None:
        check_endpoint(endpoint)
    if credentials is None:
        raise CredentialsMissing(place=str(location), expected="a lease", actual="none")
    return S3Bucket(location, credentials, endpoint, region)


class S3Bucket(ObjectStoreReader):
    """One S3 bucket; see ``connectors.buckets.bucket.Bucket`` for what each method promises."""

    def __init__(
        self, location: Location, credentials: CredentialSource, endpoint: str | None, region: str
    ) -> None:
        shown = endpoint or f"https://s3.{region}.amazonaws.com"
        self._credentials = aws.CurrentCredentials(credentials, str(location))
        self._own_endpoint = endpoint
        self._region = region
        self._clients: dict[str, Client] = {}
        self._lock = threading.Lock()
        store = S3Store(
            location.bucket,
            # Each of these could otherwise come from a variable of the environment.
            config={
                "endpoint": shown,
                "aws_endpoint_url_s3": shown,
                "region": region,
                "virtual_hosted_style_request": False,
                "skip_signature": False,
                "conditional_put": "etag",
                # Object Lock buckets take no put without a checksum.
                "checksum_algorithm": "sha256",
            },
            client_options=alone(shown),
            retry_config=RETRY,
            credential_provider=self._credentials,
        )
        super().__init__(location, store, shown)

    def create(self, key: str, data: Buffer | Iterable[Buffer]) -> str:
        self._check(key)
        place = self._place(key)
        pieces = parts(data, PUT_BYTES)
        begun = deque(itertools.islice(pieces, 2))
        try:
            if len(begun) < 2:
                return self._put(key, begun.pop() if begun else memoryview(b""), "create")
            self._refuse_existing(key)
            return self._create_large(key, itertools.chain(_drained(begun), pieces))
        except ObjectChanged as error:
            actual = error.actual
        raise ObjectExists(place=place, expected="no object", actual=actual)

    def replace(self, key: str, data: Buffer, etag: str) -> str:
        self._check(key)
        place = self._place(key)
        try:
            return self._put(key, memoryview(data).cast("B"), {"e_tag": etag})
        except (ObjectMissing, ObjectChanged) as error:
            actual = error.actual
        raise ObjectChanged(place=place, expected=f"version {etag}", actual=actual)

    def versions(self, prefix: str) -> Iterator[ObjectVersion]:
        self._check_prefix(prefix)
        marker: dict[str, str] = {}
        while True:
            page = self._boto(
                prefix, "list_object_versions", Bucket=self._root.bucket, Prefix=prefix, **marker
            )
            yield from _in_order(page)
            if not page["IsTruncated"]:
                return
            marker = {
                "KeyMarker": page["NextKeyMarker"],
                "VersionIdMarker": page.get("NextVersionIdMarker", ""),
            }

    def _get(self, key: str, options: GetOptions) -> GetResult:
        try:
            return super()._get(key, options)
        except AccessDenied as error:
            denied = error
        if self._is_missing(key):
            raise ObjectMissing(place=denied.place, expected="an object", actual=denied.actual)
        return super()._get(key, options)  # it may have come meanwhile

    def _is_missing(self, key: str) -> bool:
        """Whether a list says so. By boto3, since obstore lists below ``key/`` only."""
        where = {"Bucket": self._root.bucket, "Prefix": key, "MaxKeys": 1}
        try:
            found = self._boto(key, "list_objects_v2", **where).get("Contents", [])
        except AccessDenied:
            return False
        return not found or found[0]["Key"] != key

    def _put(self, key: str, data: memoryview, mode: PutMode) -> str:
        for pause_s in CONFLICT_PAUSES_S:
            try:
                return self._put_once(key, data, mode)
            except StoreBusy as error:
                if not error.actual.endswith(CONFLICT):
                    raise
            time.sleep(pause_s)
        return self._put_once(key, data, mode)

    def _put_once(self, key: str, data: memoryview, mode: PutMode) -> str:
        result = self._guarded(
            key, lambda: obstore.put(self._store, key, data, mode=mode, use_multipart=False)
        )
        return self._version(result, key)

    def _create_large(self, key: str, pieces: Iterable[memoryview]) -> str:
        where = {"Bucket": self._root.bucket, "Key": key}
        upload = self._boto(key, "create_multipart_upload", **where, ChecksumAlgorithm="SHA256")
        where["UploadId"] = upload["UploadId"]
        try:
            done = self._send_parts(key, where, parts(pieces, PART_BYTES))
            return self._complete(key, where, done)
        except BaseException:
            # What an abort leaves behind is no object; a lifecycle rule of the bucket clears it.
            with contextlib.suppress(StrongroomError):
                self._boto(key, "abort_multipart_upload", **where)
            raise

    def _complete(self, key: str, where: dict[str, str], done: list[dict[str, Any]]) -> str:
        with _COMPLETING:
            self._refuse_existing(key)
            answer = self._boto(
                key,
                "complete_multipart_upload",
                **where,
                MultipartUpload={"Parts": done},
                IfNoneMatch="*",
            )
        etag = str(answer["ETag"])
        try:
            found = self.head(key).etag
        except BucketError:
            return etag
        if found != etag:
            raise ObjectChanged(
                place=self._place(key), expected=f"version {etag}", actual=f"version {found}"
            )
        return etag

    def _send_parts(
        self, key: str, where: dict[str, str], pieces: Iterator[memoryview]
    ) -> list[dict[str, Any]]:
        """Upload the parts, a few at once, in bounded memory."""
        done: list[dict[str, Any]] = []
        in_flight: deque[Future[dict[str, Any]]] = deque()
        with ThreadPoolExecutor(PARTS_IN_FLIGHT, thread_name_prefix="bucket-upload") as pool:
            for number, piece in enumerate(pieces, 1):
                if number > MAX_PARTS:
                    raise ObjectTooLarge(
                        place=self._place(key),
                        expected=f"at most {MAX_PARTS * PART_BYTES} bytes",
                        actual="more",
                    )
                in_flight.append(pool.submit(self._send_part, key, where, number, piece))
                if len(in_flight) == PARTS_IN_FLIGHT:
                    done.append(in_flight.popleft().result())
            done.extend(future.result() for future in in_flight)
        return done

    def _send_part(
        self, key: str, where: dict[str, str], number: int, piece: memoryview
    ) -> dict[str, Any]:
        answer = self._boto(
            key,
            "upload_part",
            **where,
            PartNumber=number,
            Body=bytes(piece),
            ChecksumAlgorithm="SHA256",
        )
        checksum = answer.get("ChecksumSHA256")
        part = {"PartNumber": number, "ETag": answer["ETag"]}
        return {**part, "ChecksumSHA256": checksum} if checksum else part

    def _boto(self, key: str, operation: str, **arguments: object) -> dict[str, Any]:
        return self._guarded(key, lambda: getattr(self._client(), operation)(**arguments))

    def _client(self) -> Client:
        """A client with credentials that are valid now; upload ids outlive credentials."""
        current = self._credentials.current()
        with self._lock:
            if current.access_key not in self._clients:
                made = aws.s3_client(current, self._own_endpoint, self._region)
                self._clients = {current.access_key: made}
            return self._clients[current.access_key]

    def _translate(self, error: Exception, place: str) -> StrongroomError:
        failure = self._credentials.failure()
        if failure is not None and aws.CurrentCredentials.MARK in str(error):
            return failure
        if type(error).__module__.startswith("botocore"):
            translated = from_boto(error, place, self._endpoint)
        else:
            translated = from_obstore(error, place, self._endpoint)
        if isinstance(translated, CredentialsRefused) and self._credentials.expired():
            # SeaweedFS answers InvalidAccessKeyId for a session that has ended.
            return CredentialsExpired(place=place, actual=translated.actual)
        return translated


def _in_order(page: Mapping[str, Any]) -> list[ObjectVersion]:
    """The versions and delete markers of one page of a listing, which come in two lists."""
    return [
        ObjectVersion(
            key=each["Key"],
            version=each["VersionId"],
            current=each["IsLatest"],
            deleted="ETag" not in each,
            etag=each.get("ETag", ""),
            size_bytes=each.get("Size", 0),
        )
        for each in sorted(
            [*page.get("Versions", ()), *page.get("DeleteMarkers", ())],
            key=lambda each: (each["Key"], not each["IsLatest"], -each["LastModified"].timestamp()),
        )
    ]


def _drained(begun: deque[memoryview]) -> Iterator[memoryview]:
    """Give what was read already, and let go of it."""
    while begun:
        yield begun.popleft()
