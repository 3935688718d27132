"""To whom keys went, and whose they were."""

from __future__ import annotations

from collections.abc import Iterator
from typing import get_args

from strongroom.audit.events import types
from strongroom.audit.report.controls.row import NO_PLAN, Case, Finding, each, faults, places
from strongroom.audit.report.entries import Entry, of

OUTPUTS = "outputs"
"""Name of the keyset that is made for a run's outputs."""
LEVELS: tuple[types.Assurance, ...] = get_args(types.Assurance)
"""Assurance, the weakest first."""


def receivers(case: Case) -> Iterator[Finding]:
    """Each release names the evidence of one enclave that had started; both say the same
    measurement and assurance; measurement and plan are the planned ones, and the assurance is at
    least the planned one."""
    planned, releases = case.planned, of(case.entries, types.KeyReleased)
    starts = of(case.entries, types.EnclaveStarted)
    used = {release.data.evidence for release in releases}

    def wrong(entry: Entry[types.KeyReleased]) -> str:
        data = entry.data
        known = [
            start.data
            for start in starts
            if start.index < entry.index and start.data.evidence == data.evidence
        ]
        if len(known) != 1:
            return f"{len(known)} enclaves had started with the evidence of this release"
        start = known[0]
        return faults(
            (start.measurement == data.measurement, "the enclave had another measurement"),
            (start.assurance == data.assurance, "the enclave had another assurance"),
            *(_as_planned(data, case) if planned.known else ()),
        )

    code = ", whose code has the planned measurement" if planned.known else ""
    yield from each(
        f"each release went to an enclave of the log, of assurance {_least(releases)}{code}",
        releases,
        wrong,
        beside=[start for start in starts if start.data.evidence in used],
    )
    if releases and not planned.known:
        yield NO_PLAN


def _as_planned(data: types.KeyReleased, case: Case) -> Iterator[tuple[bool, str]]:
    planned = case.planned
    yield data.plan == planned.digest, "released for another plan"
    yield data.measurement == planned.measurement, "other code than the plan’s measurement"
    enough = data.assurance in LEVELS[LEVELS.index(planned.assurance or "A1") :]
    yield enough, f"assurance {data.assurance}, planned was {planned.assurance}"


def _least(releases: tuple[Entry[types.KeyReleased], ...]) -> str:
    return min((entry.data.assurance for entry in releases), default="")


def custody(case: Case) -> Iterator[Finding]:
    """Each release is of all planned keysets and no other; key service, key id, commitment and
    wrapped keyset are those of the signed manifests; that of the outputs comes from the planned
    key service, is the same in all releases, and is the one in the bucket."""
    releases = of(case.entries, types.KeyReleased)
    planned = {keyset.name: keyset for keyset in case.planned.keysets}
    if releases and not planned:
        yield NO_PLAN
        return

    def wrong(entry: Entry[types.KeyReleased]) -> str:
        keys = entry.data.keys
        names = sorted(key.name for key in keys)
        if names != sorted(planned):
            return f"released were {', '.join(names) or 'no keys'}; planned {', '.join(planned)}"
        return faults(*(_is_planned(key) for key in keys))

    def _is_planned(key: types.ReleasedKey) -> tuple[bool, str]:
        want = planned[key.name]
        if key.kms != want.kms:
            return False, f"{key.name} came from {key.kms}, planned was {want.kms}"
        made = want.key_id is None
        found = (key.key_id, key.commitment, key.keyset)
        same = made or found == (want.key_id, want.commitment, want.keyset)
        return same, f"{key.name} is another keyset than the signed manifest’s"

    yield from each(
        "released were the keysets of the signed manifests and one for the outputs, each from the "
        "planned key service: " + ", ".join(sorted({key.kms for key in planned.values()})),
        releases,
        wrong,
    )
    made = {
        (key.key_id, key.commitment, key.keyset)
        for entry in releases
        for key in entry.data.keys
        if key.name == OUTPUTS
    }
    if releases:
        says = "one keyset for the outputs in all releases"
        if len(made) != 1:
            says = f"{len(made)} different keysets for the outputs in {len(releases)} releases"
        yield Finding(says, len(made) == 1, places(releases))
        yield case.objects(
            "the outputs’ wrapped keyset", filter(None, [case.planned.output_keyset])
        )
