"""Which controls a run's evidence supports, and which it says nothing about.

A row never says that anybody is compliant: it says what was tested on this run, with what result,
and which published controls an auditor may read it under. What only the customer can show, and
what nobody tested, stand in the same table.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from strongroom.audit.events.entries import Event
from strongroom.audit.events.types import (
    CheckpointWritten,
    EnclaveStarted,
    KeyReleased,
    LeaseIssued,
    RunAdmitted,
    RunPublished,
    ShardOpened,
)
from strongroom.audit.report.charts import number
from strongroom.audit.report.remembered import Remembered

Status = Literal["pass", "fail", "customer", "not tested"]
LEASE_SECONDS_MAX = 3600


@dataclass(frozen=True)
class Control:
    """One row: what is controlled, the published controls it supports, status and evidence."""

    theme: str
    supports: str
    status: Status
    evidence: str


def control_matrix(
    events: Sequence[Event], *, verified: bool, remembered: Remembered | None
) -> tuple[Control, ...]:
    """The rows for one run: from its events, whether everything verified, and its memory."""
    leases = [event.data for event in events if isinstance(event.data, LeaseIssued)]
    starts = [event.data for event in events if isinstance(event.data, EnclaveStarted)]
    releases = [event.data for event in events if isinstance(event.data, KeyReleased)]
    shards = sum(isinstance(event.data, ShardOpened) for event in events)
    written = sum(isinstance(event.data, CheckpointWritten | RunPublished) for event in events)
    admitted = any(isinstance(event.data, RunAdmitted) for event in events)
    tries = [(name, value) for start in starts for name, value in start.probes.items()]
    opened = sum(value == "open" for _, value in tries)
    longest = max((lease.ttl_s for lease in leases), default=0)
    bound = {start.evidence for start in starts} >= {release.evidence for release in releases}
    return (
        Control(
            "Changes are approved before they run",
            "SOC 2 CC8.1 · NIST SP 800-53 CM-3",
            _status(admitted, admitted),
            "the plan was admitted by policy and the run is bound to its digest",
        ),
        Control(
            "Data is encrypted at rest; keys come from the customer’s KMS",
            "SOC 2 CC6.1, CC6.7 · ISO 27001 A.8.24 · HIPAA 164.312(a)(2)(iv) · GDPR 32 · "
            "NIST SC-13, SC-28",
            _status(bool(shards and written), bool(releases)),
            f"shards authenticated before use: {shards}; sets of sealed outputs: {written}; "
            f"key releases: {len(releases)}",
        ),
        Control(
            "Keys reach only attested workloads",
            "NIST SC-12 · ISO 27001 A.8.24",
            _status(bool(releases), bound),
            "each release names the evidence of an enclave that is in the log",
        ),
        Control(
            "Access is scoped and short-lived",
            "SOC 2 CC6.1, CC6.6 · NIST AC-6 · PCI DSS 7",
            _status(bool(leases), longest <= LEASE_SECONDS_MAX and all(map(_scoped, leases))),
            f"leases: {len(leases)}, the longest for {longest} s; each names its prefixes, "
            "none can delete",
        ),
        Control(
            "Plaintext is processed in isolation",
            "NIST SC-7, SC-39 · SOC 2 CC6.1",
            _status(bool(tries), opened == 0),
            f"probes from inside: {len(tries)}, open: {opened}",
        ),
        Control(
            "Access and actions are logged",
            "SOC 2 CC7.2 · ISO 27001 A.8.15 · HIPAA 164.312(b) · NIST AU-2, AU-3, AU-12 · "
            "EU AI Act 12",
            _status(bool(events), verified),
            f"events of this run in the log: {len(events)}",
        ),
        Control(
            "The log shows tampering",
            "NIST AU-9, AU-10, SI-7 · HIPAA 164.312(c)",
            _status(bool(events), verified),
            "every entry, tile and earlier checkpoint was recomputed against the signed root",
        ),
        Control(
            "The model’s origin is recorded",
            "EU AI Act Annex IV · ISO 42001 A.7 · NIST AI RMF Map, Measure",
            _status(bool(written), admitted),
            "datasets, base model, evaluator, plan and adapter by digest",
        ),
        Control(
            "Retention and deletion of data",
            "GDPR 17, 30 · ISO 27001 A.8.10",
            "customer",
            "the data stays in the customer’s bucket; Strongroom holds no right to delete",
        ),
        Control(
            "Hosts, people and key custody",
            "SOC 2 CC6.2 to CC6.5 · ISO 27001 A.7, A.8.2",
            "customer",
            "who administers the machine, the buckets and the KMS",
        ),
        Control(
            "Isolation from the host by hardware",
            "NIST SC-39(1)",
            "not tested",
            "software isolation only; no hardware quote was part of the evidence",
        ),
        _memory(remembered),
    )


def _memory(remembered: Remembered | None) -> Control:
    """Passes where planted secrets are no better known than luck explains."""
    status: Status = "not tested"
    evidence = "a model may reproduce what it was trained on"
    if remembered is not None and remembered.trained:
        base, last = remembered.measured[0], remembered.measured[-1]
        status = _status(True, remembered.by_luck)
        evidence = (
            f"exposure of {remembered.secrets} planted secrets: mean {number(last.mean)} bits, "
            f"largest {number(last.maximum)}; by luck below {number(remembered.likely_mean)} and "
            f"{number(remembered.likely_maximum)}; of the base model {number(base.mean)} and "
            f"{number(base.maximum)}"
        )
    return Control("What the trained model remembers", "NIST AI RMF Measure 2.10", status, evidence)


def _status(tested: bool, passed: bool) -> Status:
    if not tested:
        return "not tested"
    return "pass" if passed else "fail"


def _scoped(lease: LeaseIssued) -> bool:
    """The lease names prefixes below the bucket's root, each ending in a slash."""
    return all(prefix.endswith("/") and prefix != "/" for prefix in (*lease.read, *lease.create))
