"""Behind which walls plaintext was processed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from strongroom import __version__
from strongroom.audit.events import types
from strongroom.audit.report.controls.row import Case, Finding, each, faults, places
from strongroom.audit.report.entries import Entry, of
from strongroom.audit.report.planned import Wall

HARDWARE = ("A2", "A3")


def isolation(case: Case) -> Iterator[Finding]:
    """Each enclave that got keys tried every wall that the releaser asks for, from inside, and no
    other, and every one held; weaknesses that the releaser accepts are named. Assurance A0, which
    has no walls, fails."""
    trusted = {entry.data.evidence for entry in of(case.entries, types.KeyReleased)}
    starts = [e for e in of(case.entries, types.EnclaveStarted) if e.data.evidence in trusted]
    judge = case.walls
    if starts and judge is None:
        yield Finding("which probes an enclave has to make was not told", None, places(starts))
    weak: set[str] = set()
    made = 0

    def wrong(entry: Entry[types.EnclaveStarted]) -> str:
        nonlocal made
        if entry.data.assurance == "A0":
            return "an enclave of assurance A0 has no walls"
        if judge is None:
            return ""
        walls = judge(entry.data.probes)
        made = len(entry.data.probes)
        weak.update(name for name, wall in walls.items() if wall == "tolerated")
        shown = {name: f"{name} {entry.data.probes.get(name, '')}".strip() for name in walls}
        return faults(*(_none(walls, wall, shown) for wall in ("missing", "open")))

    found = list(each("walls", starts, wrong))
    for finding in found:
        if finding.holds is False:
            yield finding
        elif judge is not None:
            says = f"{made} probes from inside each enclave that got keys, all that the releaser "
            says += "asks for, and every wall held; "
            says += f"weaknesses accepted: {', '.join(sorted(weak))}" if weak else "no weakness"
            yield Finding(says, True, finding.entries)


def _none(walls: Mapping[str, Wall], wall: Wall, shown: dict[str, str]) -> tuple[bool, str]:
    found = [shown[name] for name in sorted(walls) if walls[name] == wall]
    more = f" and {len(found) - 8} more" if len(found) > 8 else ""
    return not found, f"{len(found)} {wall}: {', '.join(found[:8])}{more}"


def hardware(case: Case) -> Iterator[Finding]:
    """No hardware vouches for an enclave of this version. It fails where one says so."""
    yield from each(
        "no enclave claims hardware",
        of(case.entries, types.EnclaveStarted, types.KeyReleased),
        lambda entry: (
            f"{entry.data.assurance} is claimed, and no hardware’s evidence is there"
            * (entry.data.assurance in HARDWARE)
        ),
    )
    yield Finding("isolation is by software: no hardware’s evidence is part of a release", None)


def roles(_case: Case) -> Iterator[Finding]:
    """What a role can hold and reach follows from the code. The product's tests show it; no run's
    log can."""
    says = "controller, broker, enclave and releaser are processes of which none holds both "
    says += "plaintext and a network; shown by the tests of release "
    yield Finding(f"{says}{__version__} (tests/attacks, tests/invariants), not by this run", True)
