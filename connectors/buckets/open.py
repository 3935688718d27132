"""Open a bucket by its address: the one place that knows every kind of store."""

from __future__ import annotations

from collections.abc import Callable
from typing import get_args

from strongroom.connectors.access.credentials import CredentialSource
from strongroom.connectors.buckets.bucket import Bucket
from strongroom.connectors.buckets.endpoint import check_endpoint, is_loopback
from strongroom.connectors.buckets.errors import CredentialsMissing, EndpointRefused
from strongroom.connectors.buckets.uri import Location, Scheme


def open_bucket(
    location: Location,
    *,
    credentials: CredentialSource | None = None,
    endpoint: str | None = None,
    region: str = "us-east-1",
) -> Bucket:
    """The bucket that ``location`` is in. Makes no request yet.

    ``credentials`` is called whenever fresh ones are needed and keeps its own cache; ``endpoint``
    is for stores other than AWS (path-style, https or loopback). Nothing is ever taken from the
    environment or from files in the home directory. ``gs`` has been proved against
    fake-gcs-server only, which knows no authentication: other endpoints are refused. ``local``
    takes neither; the directory that ``location`` names bounds what can be read and written.

    Raises ``CredentialsMissing``, ``EndpointRefused``.
    """
    return _OPENERS[location.scheme](location, credentials, endpoint, region)


def _s3(
    location: Location, credentials: CredentialSource | None, endpoint: str | None, region: str
) -> Bucket:
    from strongroom.connectors.buckets.s3 import S3Bucket

    if endpoint is not None:
        check_endpoint(endpoint)
    if credentials is None:
        raise CredentialsMissing(place=str(location), expected="a lease", actual="none")
    return S3Bucket(location, credentials, endpoint, region)


def _gs(
    location: Location, _credentials: CredentialSource | None, endpoint: str | None, _region: str
) -> Bucket:
    from strongroom.connectors.buckets.gcs import GcsBucket

    if endpoint is None or not is_loopback(endpoint):
        raise EndpointRefused(
            place=str(location),
            expected="a Google Cloud Storage emulator on a loopback address",
            actual=endpoint or "Google's own endpoint",
            remedy="Use an s3:// bucket; this release has no credentials for gs://",
        )
    check_endpoint(endpoint)
    return GcsBucket(location, endpoint)


def _local(
    location: Location, _credentials: CredentialSource | None, _endpoint: str | None, _region: str
) -> Bucket:
    from strongroom.connectors.buckets.local import LocalBucket

    return LocalBucket(location)


_Opener = Callable[[Location, CredentialSource | None, str | None, str], Bucket]
_OPENERS: dict[Scheme, _Opener] = {"s3": _s3, "gs": _gs, "local": _local}
assert _OPENERS.keys() == set(get_args(Scheme))  # noqa: S101 - a row for each scheme
