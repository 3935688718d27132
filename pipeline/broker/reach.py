"""Every bucket that a broker may reach, by purpose, under leases taken when needed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from strongroom.connectors.access.identity import OpenBaoTokens
from strongroom.connectors.access.leases import Lease
from strongroom.connectors.buckets.aws import endpoint_and_region
from strongroom.connectors.buckets.bucket import Bucket
from strongroom.connectors.buckets.errors import ObjectExists
from strongroom.connectors.buckets.facts import bucket_facts
from strongroom.connectors.buckets.leased import open_leased
from strongroom.connectors.buckets.uri import parse
from strongroom.enclave.plan.document import Plan
from strongroom.enclave.plan.errors import PlanInconsistent
from strongroom.enclave.plan.parts import BucketFacts, LeaseRef
from strongroom.pipeline.broker import messages
from strongroom.pipeline.broker.errors import PurposeRefused
from strongroom.pipeline.broker.scope import scope_of


class Reach:
    """Every bucket that this broker may reach, by purpose, under leases taken when needed.

    ``issued`` is called with each lease when it is taken and whenever it is renewed, in any thread.
    """

    def __init__(self, config: messages.Configure, issued: Callable[[Lease], None]) -> None:
        self._config = config
        self._issued = issued
        self._held: dict[LeaseRef, tuple[Bucket, Lease]] = {}

    def check_leases(self, plan: Plan) -> None:
        """Raise ``PlanInconsistent`` where this broker was given a lease that is not the plan's."""
        for ref in self._config.leases:
            if ref not in plan.leases:
                given = f"{ref.purpose} of {ref.role} in {ref.bucket}"
                raise PlanInconsistent(place="leases", expected="those of the broker", actual=given)

    def bucket(self, purpose: str, uri: str) -> tuple[Bucket, str]:
        """The bucket and key of ``uri``, with the credentials of ``purpose``."""
        ref = self._ref(purpose, uri)
        return self._leased(ref)[0], parse(uri).key

    def facts(self, purpose: str, uri: str) -> BucketFacts:
        """What the store says about the bucket of ``uri``.

        A fact that could not be had counts as not given: rules deny what they cannot see.
        """
        ref = self._ref(purpose, uri)
        lease = self._leased(ref)[1]
        found = bucket_facts(parse(uri), lease.credentials, *endpoint_and_region(ref.endpoint))
        return BucketFacts(
            versioned=found.versioned is True,
            object_lock=found.object_lock is True,
            lock_mode=found.lock_mode,
            lock_days=found.lock_days,
            region=found.region,
            encryption=found.encryption,
        )

    def _ref(self, purpose: str, uri: str) -> LeaseRef:
        parse(uri)  # strict, so that what begins with a folder's name lies in that folder
        for ref in self._config.leases:
            prefixes = (f"{ref.bucket}/{prefix}" for prefix in (*ref.read, *ref.create))
            if ref.purpose == purpose and any(uri.startswith(prefix) for prefix in prefixes):
                return ref
        raise PurposeRefused(place=uri, expected=f"an object in the scope of {purpose}")

    def _leased(self, ref: LeaseRef) -> tuple[Bucket, Lease]:
        if ref not in self._held:
            identity = self._config.identity
            location = parse(ref.bucket + "/")
            bucket, lease = open_leased(
                location,
                OpenBaoTokens(identity.addr, Path(identity.credentials_file), identity.oidc_role),
                scope_of(ref),
                role=ref.role,
                endpoint=ref.endpoint,
                ttl_s=ref.ttl_s,
                purpose=ref.purpose,
                session_name=f"strongroom-{self._config.run}"[:64],
            )
            self._issued(lease)
            lease.on_renewal = self._issued
            self._held[ref] = bucket, lease
        return self._held[ref]


def create_once(reach: Reach, uri: str, data: bytes) -> bytes | None:
    """Create an object of the run; the bytes that were there already, if any."""
    bucket, key = reach.bucket("run-create", uri)
    try:
        bucket.create(key, data)
    except ObjectExists:
        reader, key = reach.bucket("run-read", uri)
        return reader.get(key, max_bytes=max(len(data), 1 << 20) + 1)[0]
    return None
