"""Which credentials a run needs: one lease per purpose, bucket and role, each as narrow as its use.

Stages that read datasets and model cannot write; the stage that writes can only create, and only
in the run's folder; nothing can delete. Local folders need no lease.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Protocol, TypeVar

from strongroom.enclave.plan.errors import PlanMalformed
from strongroom.enclave.plan.objects import RunLayout
from strongroom.enclave.plan.parts import LeaseRef, Purpose
from strongroom.enclave.plan.run_file import DURATION, Access, NormalisedRun, quantity

#: Leases that may also read their bucket's own settings.
FACTS_PURPOSES = ("facts-read", "run-read", "audit-read")
#: Leases that may also read earlier versions.
HISTORY_PURPOSES = ("audit-read", "audit-append")


class _HasPrefix(Protocol):
    @property
    def uri(self) -> str: ...


A = TypeVar("A", bound=_HasPrefix)


def plan_leases(run: NormalisedRun, layout: RunLayout) -> tuple[LeaseRef, ...]:
    """Every lease of the run, in the order in which they are first used."""
    sealed = () if run.evaluator.sealed is None else (run.evaluator.sealed,)
    inputs = (run.data.train, run.data.held_out, run.model.base, *sealed)
    return (
        *_leases(run, "facts-read", read=inputs),
        *_leases(run, "data-read", read=inputs),
        *_leases(run, "run-read", read=(layout.folder,)),
        *_leases(run, "run-create", create=(layout.folder,)),
        *_leases(run, "audit-read", read=(run.audit,)),
    )


def access_for(access: Sequence[A], uri: str) -> A | None:
    """The entry with the longest prefix that holds ``uri``; None for local folders."""
    entries = [entry for entry in access if uri.startswith(entry.uri)]
    return max(entries, key=lambda entry: len(entry.uri), default=None)


def _leases(
    run: NormalisedRun, purpose: Purpose, read: tuple[str, ...] = (), create: tuple[str, ...] = ()
) -> list[LeaseRef]:
    scopes: dict[tuple[str, Access], tuple[set[str], set[str]]] = defaultdict(
        lambda: (set(), set())
    )
    for uris, index in ((read, 0), (create, 1)):
        for uri in uris:
            entry = access_for(run.access, uri)
            if entry is not None:
                scheme, _, rest = uri.partition("://")
                bucket, _, key = rest.partition("/")
                scopes[f"{scheme}://{bucket}", entry][index].add(key)
    return [
        LeaseRef(
            purpose=purpose,
            bucket=bucket,
            role=entry.role,
            read=tuple(sorted(reads)),
            create=tuple(sorted(creates)),
            ttl_s=_seconds(entry.ttl),
            endpoint=entry.endpoint,
        )
        for (bucket, entry), (reads, creates) in sorted(
            scopes.items(), key=lambda item: (item[0][0], item[0][1].uri)
        )
    ]


def _seconds(ttl: str) -> int:
    seconds = quantity(ttl, DURATION)
    if seconds is None:
        raise PlanMalformed(place="spec.access", expected="a lifetime such as 15m")
    return seconds
