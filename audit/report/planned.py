"""What a run was to be, as its admitted plan and the manifests in it say.

Plain data that the caller hands in: this package reads no plan and knows no enclave. Whatever is
empty is unknown, and a control that needs it is not tested.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal, TypeAlias

from strongroom.audit.events import types


@dataclass(frozen=True)
class Waiver:
    """An exception from a policy rule, as the plan names it."""

    rule: str
    owner: str
    reason: str
    expires: str


@dataclass(frozen=True)
class Planted:
    """How many secrets a run plants, in how many rows each, of two words out of how many."""

    secrets: int
    repetitions: int
    words: int


@dataclass(frozen=True)
class PlannedShard:
    """A shard, as the signed manifest of its dataset has it."""

    sha256: str
    records: int
    plaintext_bytes: int


@dataclass(frozen=True)
class PlannedDataset:
    """A dataset; ``pinned`` is empty where its manifest could not be read."""

    name: str
    uri: str
    manifest: str
    shards: int
    records: int
    pinned: tuple[PlannedShard, ...] = ()


@dataclass(frozen=True)
class PlannedKeyset:
    """A keyset by the name it is released under. That of the outputs is made when it is released:
    of it only the key that wraps it is planned."""

    name: str
    kms: str
    key_id: int | None = None
    commitment: str = ""
    keyset: str = ""


@dataclass(frozen=True)
class PlannedLease:
    """Credentials that the run may take: for what, where, to do what, and for how long."""

    purpose: str
    bucket: str
    role: str
    read: tuple[str, ...]
    create: tuple[str, ...]
    ttl_s: int


@dataclass(frozen=True)
class PlannedCheckpoint:
    """A checkpoint that may be written: after which step, where, and which objects it holds."""

    step: int
    uri: str
    manifest: str
    objects: tuple[str, ...]


@dataclass(frozen=True)
class PlannedBucket:
    """What the store said of a bucket when the run was planned."""

    holds: str
    uri: str
    versioned: bool
    object_lock: bool
    lock_mode: str | None
    lock_days: int | None


@dataclass(frozen=True)
class PlannedNumbers:
    """Names and counts of what one start of an enclave may say outside of sealed objects."""

    step_metrics: tuple[str, ...]
    evaluation_metrics: tuple[str, ...]
    steps: int
    checkpoints: int
    evaluations: int
    """While training; one before and one after come on top."""


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
    policy: str = ""
    rules: int = 0
    """How many rules the policy bundle has."""
    base_model: str = ""
    evaluator: str = ""
    measurement: str = ""
    assurance: types.Assurance | None = None
    datasets: tuple[PlannedDataset, ...] = ()
    """The data to train on, then the held-out data."""
    keysets: tuple[PlannedKeyset, ...] = ()
    leases: tuple[PlannedLease, ...] = ()
    checkpoints: tuple[PlannedCheckpoint, ...] = ()
    numbers: PlannedNumbers | None = None
    inputs: tuple[str, ...] = ()
    """Every object that is read, by its address."""
    output_keyset: str = ""
    result: str = ""
    """Addresses of the wrapped output keyset and of the result."""
    buckets: tuple[PlannedBucket, ...] = ()

    @property
    def known(self) -> bool:
        """Whether there is a plan."""
        return bool(self.digest)


Wall: TypeAlias = Literal["closed", "tolerated", "open", "missing"]
Walls: TypeAlias = Callable[[Mapping[str, str]], Mapping[str, Wall]]
"""Judges an enclave's probes as the releaser does: each that was made, and each that is missing."""
