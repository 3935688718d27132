"""Open a bucket by its address, whichever store it is in."""

from __future__ import annotations

import importlib
from typing import Protocol, cast

from strongroom.connectors.access.credentials import CredentialSource
from strongroom.connectors.buckets.bucket import Bucket
from strongroom.connectors.buckets.uri import STORES, Location


class _Store(Protocol):
    """What the module of a store has."""

    def open_location(
        self,
        location: Location,
        credentials: CredentialSource | None,
        endpoint: str | None,
        region: str,
    ) -> Bucket:
        """The bucket, without a request yet."""


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
    store = cast("_Store", importlib.import_module(STORES[location.scheme].module))
    return store.open_location(location, credentials, endpoint, region)
