"""The shape of a report: plain frozen data, which is all that a format needs to know.

Digests are ``sha256:…``, times ISO 8601 UTC; what a log does not show is empty.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Generic, TypeVar

from strongroom.audit.events import types
from strongroom.audit.log.verify import COMPLETE, Check
from strongroom.audit.report.charts import Series
from strongroom.audit.report.controls import Control
from strongroom.audit.report.remembered import Planted, Remembered

D = TypeVar("D", bound=types.EventData, covariant=True)


@dataclass(frozen=True)
class LogHead:
    """The log that the report rests on, and the line that verifies it."""

    origin: str
    vkey: str
    size: int
    root: str
    pending: int


@dataclass(frozen=True)
class CheckGroup:
    """Checks of one kind: how many were made, and those that failed."""

    name: str
    made: int
    failed: tuple[Check, ...]


@dataclass(frozen=True)
class Timed(Generic[D]):
    """An event's data with its time and the role that saw it."""

    time: str
    actor: str
    data: D


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
class Waiver:
    """An exception from a policy rule, as the plan names it."""

    rule: str
    owner: str
    reason: str
    expires: str


@dataclass(frozen=True, kw_only=True)
class Planned:
    """What a report takes from a run's plan; all of it is empty where no plan can be trusted."""

    digest: str = ""
    outputs: str = ""
    model_uri: str = ""
    keys: tuple[tuple[str, str], ...] = ()
    """References of the keys, by what they are for."""
    method: str = ""
    metrics: tuple[str, ...] = ()
    """Names of the evaluator's metrics, in the order in which the run file declares them."""
    planted: Planted | None = None
    capacity_bits: int | None = None
    """What one start of an enclave could let out."""
    waivers: tuple[Waiver, ...] = ()


@dataclass(frozen=True)
class HeldOut:
    """The held-out result: one metric, its value at each evaluation, and over how many records."""

    metric: str
    values: tuple[tuple[str, float], ...]
    records: int


@dataclass(frozen=True)
class ReportData:
    """Everything that the report shows."""

    run: str
    outcome: str
    error: str
    checks: tuple[CheckGroup, ...]
    log: LogHead | None
    began: str
    ended: str
    seconds: float | None
    steps: int
    method: str
    events: tuple[tuple[str, int], ...]
    admitted: types.RunAdmitted | None
    denied: tuple[Timed[types.RunDenied], ...]
    resumed: tuple[Timed[types.RunResumed], ...]
    plan_digest: str
    outputs: str
    model_uri: str
    kms: tuple[tuple[str, str], ...]
    datasets: tuple[Dataset, ...]
    rejected: tuple[types.RecordRejected, ...]
    enclaves: tuple[Timed[types.EnclaveStarted], ...]
    assurance: str
    leases: tuple[Timed[types.LeaseIssued], ...]
    releases: tuple[Timed[types.KeyReleased], ...]
    refusals: tuple[Timed[types.KeyDenied], ...]
    checkpoints: tuple[Timed[types.CheckpointWritten], ...]
    published: types.RunPublished | None
    adapter: str
    rollouts_opened: int
    curves: tuple[Series, ...]
    alarms: tuple[Timed[types.TrainingAlarm], ...]
    finished: types.TrainingFinished | None
    replays: tuple[Timed[types.RunReplayed], ...]
    """Repetitions of this run, each logged under an id of its own."""
    exports: tuple[Timed[types.AdapterExported], ...]
    held_out: HeldOut | None
    remembered: Remembered | None
    capacity_bits: int | None
    """Of one start of an enclave."""
    controls: tuple[Control, ...]
    waivers: tuple[Waiver, ...]

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
    def run_capacity_bits(self) -> int | None:
        """What all of the run's enclaves in the log together could let out."""
        return None if self.capacity_bits is None else self.capacity_bits * len(self.enclaves)

    @property
    def probes(self) -> tuple[tuple[str, str], ...]:
        """The last enclave's probes, by name."""
        if not self.enclaves:
            return ()
        return tuple(sorted(self.enclaves[-1].data.probes.items()))
