"""Who could reach which objects, and who looked at what had been sealed."""

from __future__ import annotations

from collections.abc import Iterator

from strongroom.audit.events import types
from strongroom.audit.report.controls.row import NO_PLAN, Case, Finding, each, faults, plural
from strongroom.audit.report.entries import Entry, days_later, of, seconds_between
from strongroom.audit.report.planned import PlannedLease

CLOCKS_APART_S = 300
"""How far the clocks of two machines may differ before times are called wrong."""


LOG = "the log"
"""What must lie in a bucket that locks it."""


LOCKS = {
    "COMPLIANCE": "which nobody can shorten",
    "GOVERNANCE": "which who has the right can lift",
}
"""What an Object Lock's mode means."""


def leases(case: Case) -> Iterator[Finding]:
    """Each lease has the purpose, bucket and role of one in the plan, and no folder, right or
    second more; it ends when it says, and opens folders only."""
    issued, planned = of(case.entries, types.LeaseIssued), case.planned.leases
    if issued and not case.planned.known:
        yield NO_PLAN

    def wrong(entry: Entry[types.LeaseIssued]) -> str:
        data = entry.data
        life = seconds_between(entry.time, data.expires_at)
        if broad := [p for p in (*data.read, *data.create) if not p.endswith("/") or p == "/"]:
            return f"{data.purpose} opens {', '.join(broad)}, which is no folder"
        if not -CLOCKS_APART_S <= life <= data.ttl_s + CLOCKS_APART_S:
            return f"{data.purpose} lasts {life:.0f} s, stated are {data.ttl_s} s"
        if not case.planned.known:
            return ""
        same = [p for p in planned if (p.purpose, p.bucket) == (data.purpose, data.bucket)]
        if not same:
            return f"the plan has no lease for {data.purpose} in {data.bucket}"
        return min((_beyond(data, lease) for lease in same), key=len)

    longest = max((entry.data.ttl_s for entry in issued), default=0)
    yield from each(
        f"{plural(len(issued), 'lease')}, each within the plan’s for its purpose in role, folders, "
        f"rights and lifetime, the longest for {longest} s",
        issued,
        wrong,
    )
    taken = {entry.data.purpose for entry in issued}
    untold = sorted({lease.purpose for lease in planned} - taken)
    if untold and of(case.entries, types.RunCompleted):
        yield Finding(f"the log has no lease for {', '.join(untold)}", None)


def _beyond(data: types.LeaseIssued, planned: PlannedLease) -> str:
    """In what a lease goes beyond the plan's."""
    read, create = set(data.read) - set(planned.read), set(data.create) - set(planned.create)
    what = data.purpose
    return faults(
        (data.role == planned.role, f"{what} took role {data.role}"),
        (not read, f"{what} may read {', '.join(sorted(read))}, which the plan does not have"),
        (
            not create,
            f"{what} may create {', '.join(sorted(create))}, which the plan does not have",
        ),
        (data.ttl_s <= planned.ttl_s, f"{what} lasts {data.ttl_s} s, planned {planned.ttl_s} s"),
    )


def looks(case: Case) -> Iterator[Finding]:
    """Each export is of an adapter, and each opening of an object, that this run had written. The
    plain weights are no longer in any log."""
    written = of(case.entries, types.CheckpointWritten)
    exported, opened = (
        of(case.entries, types.AdapterExported),
        of(case.entries, types.RolloutsOpened),
    )

    def foreign(entry: Entry[types.AdapterExported]) -> str:
        made = {(w.data.step, w.data.adapter) for w in written if w.index < entry.index}
        ours = (entry.data.step, entry.data.adapter) in made
        return "" if ours else "an adapter was exported that this run had not written"

    def unknown(entry: Entry[types.RolloutsOpened]) -> str:
        made = {
            (w.data.uri + o.name, o.sha256)
            for w in written
            if w.index < entry.index
            for o in w.data.objects
        }
        ours = (entry.data.uri, entry.data.sha256) in made
        return "" if ours else "rollouts were opened that this run had not written"

    yield from each(f"{plural(len(exported), 'export')}, each of this run", exported, foreign)
    yield from each(f"{plural(len(opened), 'opening')} of rollouts, of this run", opened, unknown)
    if case.entries and case.size is not None and not (exported or opened):
        says = f"no export and no opening of rollouts in the log’s {case.size} entries"
        yield Finding(says, True)


def deletions(case: Case) -> Iterator[Finding]:
    """A listing of object versions has no delete marker and no replaced version. Without one this
    is not tested."""
    found = case.deletions
    if found is None:
        yield Finding("object versions and delete markers were not examined", None)
    elif found:
        yield Finding(f"deleted or replaced: {', '.join(found[:5])}", False)
    else:
        yield Finding("no delete marker and no replaced version in the buckets", True)


def retention(case: Case) -> Iterator[Finding]:
    """What the stores said of versioning and locks when the run was planned. It fails where the
    log's bucket did not lock new objects, or one kept no versions; how long is long enough, and
    what was changed since, is the customer's to answer."""
    if not case.planned.buckets:
        yield NO_PLAN
    for bucket in case.planned.buckets:
        days, mode = bucket.lock_days, bucket.lock_mode or ""
        lock = "new objects not locked"
        locked = bool(bucket.object_lock and mode and days)
        if locked and days:
            lock = f"new objects locked for {plural(days, 'day')}, {LOCKS.get(mode, mode)}"
            if case.entries and (until := days_later(case.entries[0].time, days)):
                lock += f", the run’s first until {until}"
        kept = "versioned" if bucket.versioned else "NOT versioned"
        says = f"when the run was planned, {bucket.holds} ({bucket.uri}): {kept}, {lock}"
        holds = bucket.versioned and (locked or bucket.holds != LOG)
        yield Finding(says, holds)
