"""What a lease allows in its bucket: the same for the broker that takes it and whoever is told."""

from __future__ import annotations

from strongroom.connectors.access.scopes import Scope
from strongroom.enclave.plan.leases import FACTS_PURPOSES, HISTORY_PURPOSES
from strongroom.enclave.plan.parts import LeaseRef


def scope_of(ref: LeaseRef) -> Scope:
    """The scope that a session policy is made from. Raises ``ScopeTooBroad``."""
    return Scope(
        bucket=ref.bucket.partition("://")[2],
        read=ref.read,
        create=ref.create,
        facts=ref.purpose in FACTS_PURPOSES,
        history=ref.purpose in HISTORY_PURPOSES,
    )
