"""The shape of a report: plain frozen data, which is all that a format needs to know.

Digests are ``sha256:…``, times ISO 8601 UTC; what a log does not show is empty.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from strongroom.audit.events import types
from strongroom.audit.log.verify import COMPLETE, Check
from strongroom.audit.report.charts import Series
from strongroom.audit.report.controls.row import Control
from strongroom.audit.report.entries import Entries, Entry
from strongroom.audit.report.planned import Planned
from strongroom.audit.report.remembered import Remembered


@dataclass(frozen=True)
class LogHead:
    """The log that the report rests on, and the line that verifies it.

    ``root`` is base64, as the log's own signed note has it.
    """

    origin: str
    vkey: str
    size: int
    root: str


@dataclass(frozen=True)
class CheckGroup:
    """Checks of one kind: how many were made, and those that failed."""

    name: str
    made: int
    failed: tuple[Check, ...]


@dataclass(frozen=True)
class Dataset:
    """A dataset by its signed manifest; ``opened`` counts shards authenticated in an enclave."""

    name: str
    uri: str
    manifest: str
    shards: int
    records: int
    opened: int
    rejected: int


@dataclass(frozen=True)
class HeldOut:
    """One held-out metric, its value at each evaluation, and over how many records."""

    metric: str
    values: tuple[tuple[str, float], ...]
    records: int


@dataclass(frozen=True, kw_only=True)
class ReportData:
    """Everything that the report shows."""

    run: str
    outcome: str
    error: str
    checks: tuple[CheckGroup, ...]
    log: LogHead | None
    planned: Planned
    began: str
    ended: str
    """Time of the event that ended the run, or of its last one."""
    seconds: float | None
    steps: int
    events: tuple[tuple[str, int], ...]
    """How many of each type, to the run's end."""
    afterwards: Entries
    """What was logged when the run had ended: looks, and leases for them."""
    admitted: types.RunAdmitted | None
    denied: Sequence[Entry[types.RunDenied]]
    resumed: Sequence[Entry[types.RunResumed]]
    failed: Sequence[Entry[types.RunFailed]]
    datasets: tuple[Dataset, ...]
    rejected: Sequence[Entry[types.RecordRejected]]
    enclaves: Sequence[Entry[types.EnclaveStarted]]
    leases: Sequence[Entry[types.LeaseIssued]]
    releases: Sequence[Entry[types.KeyReleased]]
    refusals: Sequence[Entry[types.KeyDenied]]
    checkpoints: Sequence[Entry[types.CheckpointWritten]]
    published: types.RunPublished | None
    adapter: str
    rollouts_opened: Sequence[Entry[types.RolloutsOpened]]
    exports: Sequence[Entry[types.AdapterExported]]
    replays: Sequence[Entry[types.RunReplayed]]
    """Repetitions of this run, each logged under an id of its own."""
    curves: tuple[Series, ...]
    alarms: Sequence[Entry[types.TrainingAlarm]]
    finished: types.TrainingFinished | None
    held_out: tuple[HeldOut, ...]
    """The declared metrics in their order, then the score; the first is the run's result."""
    remembered: Remembered | None
    deletions: Sequence[str] | None
    """Delete markers and replaced versions; None where nobody looked."""
    controls: tuple[Control, ...]

    @property
    def verified(self) -> bool:
        """Checks were made, and every one of them held."""
        return bool(self.checks) and not any(group.failed for group in self.checks)

    @property
    def intact(self) -> bool:
        """Nothing failed but that the run is complete."""
        return bool(self.checks) and not any(
            group.failed for group in self.checks if group.name != COMPLETE
        )

    @property
    def checks_made(self) -> int:
        """Number of checks."""
        return sum(group.made for group in self.checks)

    @property
    def checks_failed(self) -> int:
        """Number of checks that did not hold."""
        return sum(len(group.failed) for group in self.checks)

    @property
    def controls_failed(self) -> tuple[Control, ...]:
        """The rows that turned red."""
        return tuple(control for control in self.controls if control.verdict == "fail")

    @property
    def plan_digest(self) -> str:
        """Of the plan that was read, or at least admitted."""
        return self.planned.digest or (self.admitted.plan if self.admitted else "")

    @property
    def assurance(self) -> str:
        """Of the last enclave."""
        return self.enclaves[-1].data.assurance if self.enclaves else ""

    @property
    def run_capacity_bits(self) -> int | None:
        """What all of the run's enclaves in the log together could let out."""
        bits = self.planned.capacity_bits
        return None if bits is None else bits * len(self.enclaves)

    @property
    def probes(self) -> tuple[tuple[str, str], ...]:
        """The last enclave's probes, by name."""
        if not self.enclaves:
            return ()
        return tuple(sorted(self.enclaves[-1].data.probes.items()))
