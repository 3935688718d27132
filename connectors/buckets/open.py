"""Open a bucket by its address: the one place that knows every kind of store."""

from __future__ import annotations

from strongroom.connectors.access.credentials import CredentialSource
from strongroom.connectors.buckets.bucket import Bucket, check_endpoint, is_loopback
from strongroom.connectors.buckets.errors import CredentialsMissing, EndpointRefused
from strongroom.connectors.buckets.uri import Location


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
    if location.scheme == "local":
        from strongroom.connectors.buckets.local import LocalBucket

        return LocalBucket(location)
    if endpoint is not None:
        check_endpoint(endpoint)
    if location.scheme == "gs":
        from strongroom.connectors.buckets.gcs import GcsBucket

        if endpoint is None or not is_loopback(endpoint):
            raise EndpointRefused(
                place=str(location),
                expected="a Google Cloud Storage emulator on a loopback address",
                actual=endpoint or "Google's own endpoint",
                remedy="Use an s3:// bucket; this release has no credentials for gs://",
            )
        return GcsBucket(location, endpoint)
    from strongroom.connectors.buckets.s3 import S3Bucket

    if credentials is None:
        raise CredentialsMissing(place=str(location), expected="a lease", actual="none")
    return S3Bucket(location, credentials, endpoint, region)
