"""A control: a question, and the predicate that answers it from named entries of the log.

A predicate yields findings. One that does not hold makes the control fail; none at all, or one that
could not be told, leaves it untested: nothing passes for want of evidence, nor on the word of a log
that did not verify.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Literal, TypeAlias, TypeVar

from strongroom.audit.events import types
from strongroom.audit.log.verify import Check
from strongroom.audit.report.entries import Entries, Entry
from strongroom.audit.report.planned import Planned, Walls
from strongroom.audit.report.remembered import Remembered

Verdict: TypeAlias = Literal["pass", "fail", "not tested", "customer", "by design"]
"""``customer``: the evidence cannot answer for it. ``by design``: shown by the product's tests, and
not by this run."""
T = TypeVar("T", bound=types.EventData)


LOG = "Audit log"
"""How the names of checks of the log begin."""


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at, in words that say what is there; ``holds`` is None where that
    could not be told. ``entries`` are indices in the log."""

    says: str
    holds: bool | None
    entries: tuple[int, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Case:
    """What a predicate may look at: all of it verified, as far as ``checks`` say."""

    entries: Entries
    planned: Planned
    checks: Sequence[Check]
    size: int | None
    """Of the verified log."""
    replays: tuple[Entry[types.RunReplayed], ...] = ()
    walls: Walls | None = None
    deletions: Sequence[str] | None = None
    """Delete markers and replaced versions in the run's buckets; None where nobody looked."""
    memory: Remembered | None = None
    _objects: dict[str, bool] = field(default_factory=dict, init=False, repr=False)

    def __post_init__(self) -> None:
        for check in self.checks:
            self._objects[check.object] = self._objects.get(check.object, True) and check.ok

    @property
    def log_checks(self) -> tuple[Check, ...]:
        """The checks of the log itself."""
        return tuple(check for check in self.checks if check.name.startswith(LOG))

    def sessions(self) -> list[Entries]:
        """The run's entries, parted before each start of an enclave."""
        starts = [
            at for at, e in enumerate(self.entries) if isinstance(e.data, types.EnclaveStarted)
        ]
        bounds = [0, *starts, len(self.entries)]
        return [self.entries[a:b] for a, b in pairwise(bounds) if a < b]

    def objects(self, what: str, uris: Iterable[str], entries: tuple[int, ...] = ()) -> Finding:
        """Whether each of these objects was read and is what log and plan say it is."""
        wanted = tuple(dict.fromkeys(uris))
        bad = [uri for uri in wanted if self._objects.get(uri) is False]
        unread = [uri for uri in wanted if uri not in self._objects]
        if bad:
            return Finding(f"{what}: {some(bad)} failed verification", False, entries)
        if unread or not wanted:
            return Finding(f"{what}: {some(unread) or 'nothing'} was not read", None, entries)
        says = f"{what}: {plural(len(wanted), 'object')}, as log and plan have it"
        return Finding(says, True, entries)


@dataclass(frozen=True)
class Control:
    """One row as the report shows it; ``looked_at`` are entries by event type."""

    id: str
    question: str
    supports: str
    verdict: Verdict
    findings: tuple[Finding, ...]
    looked_at: tuple[tuple[str, tuple[int, ...]], ...]


@dataclass(frozen=True)
class Rule:
    """One row of the table. ``verdicts`` are those it can come to; the first is its best."""

    id: str
    question: str
    supports: str
    predicate: Callable[[Case], Iterable[Finding]]
    verdicts: tuple[Verdict, ...] = ("pass", "fail", "not tested")

    def judge(self, case: Case) -> Control:
        """The row for one run."""
        findings = tuple(self.predicate(case))
        proven = bool(case.log_checks) and all(check.ok for check in case.log_checks)
        if not proven and self.verdicts[0] == "pass":
            findings += (UNPROVEN,)
        verdict = self.verdicts[0]
        if any(finding.holds is False for finding in findings):
            verdict = "fail"
        elif not findings or any(finding.holds is None for finding in findings):
            verdict = "not tested"
        seen = {index for finding in findings for index in finding.entries}
        kinds: defaultdict[str, list[int]] = defaultdict(list)
        for entry in (*case.entries, *case.replays):
            if entry.index in seen:
                kinds[entry.type].append(entry.index)
        looked_at = tuple((kind, tuple(indices)) for kind, indices in kinds.items())
        order = tuple(sorted(findings, key=_gravest))
        return Control(self.id, self.question, self.supports, verdict, order, looked_at)


def each(
    says: str,
    entries: Iterable[Entry[T]],
    wrong: Callable[[Entry[T]], str],
    *,
    beside: Entries = (),
) -> Iterator[Finding]:
    """One finding for all entries where nothing is wrong with any, else one for each that is.

    ``wrong`` says what is wrong with one, or nothing; ``beside`` are entries that it looks at too.
    """
    found = [(entry, wrong(entry)) for entry in entries]
    for entry, fault in found:
        if fault:
            yield Finding(fault, False, (entry.index,))
    if found and not any(fault for _, fault in found):
        yield Finding(says, True, (*places(beside), *places(entry for entry, _ in found)))


def places(entries: Iterable[Entry[types.EventData]]) -> tuple[int, ...]:
    """Indices in the log."""
    return tuple(entry.index for entry in entries)


def faults(*claims: tuple[bool, str]) -> str:
    """What is wrong: the words of the claims that do not hold."""
    return "; ".join(words for holds, words in claims if not holds)


def plural(count: int, one: str, many: str = "") -> str:
    """``1 key release`` or ``2 key releases``."""
    return f"{count} {one if count == 1 else many or one + 's'}"


def some(names: Sequence[str], most: int = 3) -> str:
    """The first names, and how many more there are."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


UNPROVEN = Finding("the log did not verify: what its entries say is unproven", None)
NO_PLAN = Finding("no admitted plan could be read to hold it against", None)


def _gravest(finding: Finding) -> int:
    return (False, None, True).index(finding.holds)
