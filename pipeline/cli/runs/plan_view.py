"""Shows a plan to a person: what is read, written, leased and held, and what the policy says."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable
from typing import Any

from strongroom.connectors.access.scopes import session_policy
from strongroom.enclave.plan.document import Plan
from strongroom.enclave.plan.parts import DatasetRef, LeaseRef
from strongroom.pipeline.broker.scope import scope_of
from strongroom.pipeline.cli.console import Output, Part, Styled, Table
from strongroom.policies.gate import Decision


def print_plan(output: Output, plan: Plan, decision: Decision | None = None) -> None:
    """Print the whole plan as tables; with a decision, its verdict last."""
    output.say(Styled("Plan", "bold"), " of run ", Styled(plan.run, "bold"))
    output.say(plan.digest)
    output.say()
    for table in (
        _inputs(plan),
        _reads(plan),
        _writes(plan),
        _leases(plan.leases),
        _keys(plan),
        _limits(plan),
    ):
        output.table(table)
        output.say()
    if decision is not None:
        output.say(*_verdict(decision))


def lease_policies(leases: Iterable[LeaseRef]) -> list[dict[str, Any]]:
    """Each lease with the session policy document that is sent to the STS for it.

    Raises ``ScopeTooBroad`` and ``PolicyTooLong``.
    """
    return [
        {
            "purpose": lease.purpose,
            "bucket": lease.bucket,
            "role": lease.role,
            "ttl_s": lease.ttl_s,
            "session_policy": json.loads(session_policy(scope_of(lease))),
        }
        for lease in leases
    ]


def size_text(size_bytes: int) -> str:
    """``1,056 B``, ``256.6 MiB``: three digits or more, binary units."""
    value = float(size_bytes)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if value < 10_000:
            return f"{value:,.0f} {unit}" if unit == "B" else f"{value:,.1f} {unit}"
        value /= 1024
    return f"{value:,.1f} TiB"


def duration_text(seconds: int) -> str:
    """``15 min``, ``90 s``."""
    return f"{seconds // 60} min" if seconds % 60 == 0 else f"{seconds} s"


def _inputs(plan: Plan) -> Table:
    right = ("records", "bytes")
    table = Table("Inputs", "what", "name", "records", "bytes", "pinned by", right=right)
    for what, dataset in (("train", plan.data.train), ("held-out", plan.data.held_out)):
        table.row(
            what,
            dataset.name,
            f"{dataset.records:,}",
            size_text(dataset.ciphertext_bytes),
            _signed(dataset),
        )
    sealed = plan.evaluator.sealed
    model_bytes = sum(file.size_bytes for file in plan.model.files)
    model = [plan.model.uri, f"in {plan.model.precision}"]
    table.row("model", model, "", size_text(model_bytes), plan.model.digest)
    table.row(
        "evaluator",
        plan.evaluator.name,
        "",
        size_text(plan.evaluator.size_bytes),
        plan.evaluator.sha256 if sealed is None else _signed(sealed),
    )
    packages = f"Python {plan.code.python}, {len(plan.code.packages)} packages"
    table.row("code", packages, "", "", plan.code.measurement)
    return table


def _signed(dataset: DatasetRef) -> str:
    return f"manifest {dataset.manifest_sha256}, signed by {dataset.signer}"


def _reads(plan: Plan) -> Table:
    table = Table("Reads", "folder", "objects", "bytes", right=("objects", "bytes"))
    folders: dict[str, list[int]] = defaultdict(list)
    for item in plan.objects.reads:
        folders[item.uri.rpartition("/")[0] + "/"].append(item.size_bytes)
    for folder, sizes in sorted(folders.items()):
        table.row(folder, f"{len(sizes):,}", size_text(sum(sizes)))
    total = sum(item.size_bytes for item in plan.objects.reads)
    table.row("total", f"{len(plan.objects.reads):,}", size_text(total))
    return table


def _writes(plan: Plan) -> Table:
    table = Table("Writes (created once, never replaced, never deleted)", "folder", "objects")
    folders: dict[str, list[str]] = defaultdict(list)
    for uri in plan.objects.writes.objects:
        folder, _, name = uri.rpartition("/")
        folders[folder + "/"].append(name)
    for folder, names in sorted(folders.items()):
        table.row(folder, ", ".join(sorted(names)))
    table.row(plan.audit, "the audit log")
    return table


def _leases(leases: Iterable[LeaseRef]) -> Table:
    table = Table(
        "Leases (none can delete)",
        "purpose",
        "role",
        "may read",
        "may create",
        "lifetime",
        right=("lifetime",),
    )
    for lease in leases:
        table.row(
            lease.purpose,
            lease.role,
            [f"{lease.bucket}/{prefix}" for prefix in lease.read] or "–",
            [f"{lease.bucket}/{prefix}" for prefix in lease.create] or "–",
            duration_text(lease.ttl_s),
        )
    return table


def _keys(plan: Plan) -> Table:
    table = Table("Keys (by reference; the broker and the controller never hold one)", "use", "key")
    table.row("open the datasets", plan.keys.data)
    table.row("seal what the run writes", plan.keys.outputs)
    table.row("sign the audit log", plan.keys.audit)
    return table


def _limits(plan: Plan) -> Table:
    table = Table("Limits", "what", "at most")
    bits = plan.capacity_bits
    table.row("that numbers could carry out of the enclave", f"{bits:,} bits ({bits / 8:,.0f} B)")
    metrics = ", ".join(plan.evaluator.metrics) or "none"
    table.row("metrics that the evaluator may report", metrics)
    table.row("one call of the evaluator", duration_text(plan.evaluator.timeout_s))
    if plan.evaluator.score_range is not None:
        low, high = plan.evaluator.score_range
        table.row("a score", f"{low:g} to {high:g}")
    return table


def _verdict(decision: Decision) -> tuple[Part, ...]:
    if decision.allowed:
        waived = ", ".join(f"{each.rule} until {each.expires}" for each in decision.waived)
        passed = f": {len(decision.passed)} rules passed"
        return Styled("Admitted", "green"), passed + (f"; waived: {waived}" if waived else "")
    rules = sorted({denial.rule for denial in decision.denials})
    return Styled("Denied", "red"), f" by {len(rules)} of the policy's rules: {', '.join(rules)}"
