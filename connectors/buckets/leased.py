"""A bucket that is reached by a web identity: what brokers and the data's owner have in common."""

from __future__ import annotations

from collections.abc import Callable

from strongroom.connectors.access.leases import LONGEST_TTL_S, Lease, WebIdentityLeaser
from strongroom.connectors.access.scopes import Scope
from strongroom.connectors.buckets.aws import endpoint_and_region
from strongroom.connectors.buckets.bucket import Bucket
from strongroom.connectors.buckets.open import open_bucket
from strongroom.connectors.buckets.uri import Location


def open_leased(
    root: Location,
    token: Callable[[], str],
    scope: Scope,
    *,
    role: str,
    endpoint: str | None,
    ttl_s: int,
    purpose: str,
    session_name: str,
) -> tuple[Bucket, Lease]:
    """The bucket ``root`` with credentials for just ``scope``, and their lease.

    ``endpoint`` as a run file's ``access`` has it. ``ttl_s`` may ask for more than a lease may
    last, which the policy then judges. Raises as ``WebIdentityLeaser.lease``.
    """
    address, region = endpoint_and_region(endpoint)
    leaser = WebIdentityLeaser(token, address, role, session_name, region)
    lease = leaser.lease(scope, min(ttl_s, LONGEST_TTL_S), purpose)
    bucket = open_bucket(root, credentials=lease.credentials, endpoint=address, region=region)
    return bucket, lease
