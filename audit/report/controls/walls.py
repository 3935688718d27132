"""Behind which walls plaintext was processed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from strongroom import __version__
from strongroom.audit.events import types
from strongroom.audit.report.controls.row import Case, Finding, each, places, some
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
    judged = {start.index: judge(start.data.probes) if judge else {} for start in starts}
    says = "no enclave of assurance A0 got keys"
    if judge is not None:
        tried = max((len(walls) for walls in judged.values()), default=0)
        every = [pair for walls in judged.values() for pair in walls.items()]
        weak = sorted({name for name, wall in every if wall == "tolerated"})
        says = f"each enclave that got keys tried all {tried} walls that the releaser asks for, "
        says += f"from inside, and they held; weaknesses accepted: {', '.join(weak) or 'none'}"
    elif starts:
        yield Finding("which walls an enclave has to try was not told", None, places(starts))
    yield from each(says, starts, lambda start: _fallen(start.data, judged[start.index]))


def _fallen(start: types.EnclaveStarted, walls: Mapping[str, Wall]) -> str:
    """Which walls of an enclave did not hold, or were not tried."""
    if start.assurance == "A0":
        return "an enclave of assurance A0 has no walls"
    kinds: tuple[Wall, ...] = ("missing", "open")
    found = {kind: sorted(name for name in walls if walls[name] == kind) for kind in kinds}
    return "; ".join(
        f"{len(names)} {kind}: {some([_shown(start, name) for name in names], 8)}"
        for kind, names in found.items()
        if names
    )


def _shown(start: types.EnclaveStarted, name: str) -> str:
    return f"{name} {start.probes[name]}" if name in start.probes else name


def hardware(case: Case) -> Iterator[Finding]:
    """No hardware vouches for an enclave of this version. It fails where one says so."""

    def claimed(entry: Entry[types.EnclaveStarted | types.KeyReleased]) -> str:
        level = entry.data.assurance
        return f"{level} is claimed, without hardware’s evidence" if level in HARDWARE else ""

    yield from each(
        "no enclave claims hardware",
        of(case.entries, types.EnclaveStarted, types.KeyReleased),
        claimed,
    )
    yield Finding("isolation is by software: no hardware’s evidence is part of a release", None)


def roles(_case: Case) -> Iterator[Finding]:
    """What a role can hold and reach follows from the code. The product's tests show it; no run's
    log can."""
    says = "controller, broker, enclave and releaser are processes of which none holds both "
    says += "plaintext and a network; shown by the tests of release "
    yield Finding(f"{says}{__version__} (tests/attacks, tests/invariants), not by this run", True)
