"""Shows a plan to a person: what is read, written, leased and held, and what the policy says."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from strongroom.connectors.access.scopes import Scope, session_policy
from strongroom.pipeline.planning.leases import FACTS_PURPOSES
from strongroom.pipeline.planning.parts import DatasetRef, LeaseRef
from strongroom.pipeline.planning.plan import Plan
from strongroom.policies.gate import Decision


def print_plan(console: Console, plan: Plan, decision: Decision | None = None) -> None:
    """Print the whole plan as tables; with a decision, its verdict last."""
    console.print(f"[bold]Plan[/bold] of run [bold]{escape(plan.run)}[/bold]\n{plan.digest}\n")
    for table in (
        _inputs(plan),
        _reads(plan),
        _writes(plan),
        _leases(plan.leases),
        _keys(plan),
        _limits(plan),
    ):
        console.print(table)
    if decision is not None:
        console.print(_verdict(decision))


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
            "session_policy": json.loads(session_policy(_scope(lease))),
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


def _scope(lease: LeaseRef) -> Scope:
    bucket = lease.bucket.partition("://")[2]
    facts = lease.purpose in FACTS_PURPOSES
    return Scope(bucket=bucket, read=lease.read, create=lease.create, facts=facts)


def _table(title: str, *columns: str) -> Table:
    table = Table(title=title, title_justify="left", title_style="bold", header_style="dim")
    for column in columns:
        right = column in ("bytes", "objects", "records", "lifetime")
        table.add_column(column, justify="right" if right else "left", overflow="fold")
    return table


def _inputs(plan: Plan) -> Table:
    table = _table("Inputs", "what", "name", "records", "bytes", "pinned by")
    for what, dataset in (("train", plan.data.train), ("held-out", plan.data.held_out)):
        table.add_row(
            what,
            escape(dataset.name),
            f"{dataset.records:,}",
            size_text(dataset.ciphertext_bytes),
            _signed(dataset),
        )
    sealed = plan.evaluator.sealed
    model_bytes = sum(file.size_bytes for file in plan.model.files)
    model = f"{escape(plan.model.uri)}\nin {plan.model.precision}"
    table.add_row("model", model, "", size_text(model_bytes), plan.model.digest)
    table.add_row(
        "evaluator",
        escape(plan.evaluator.name),
        "",
        size_text(plan.evaluator.size_bytes),
        plan.evaluator.sha256 if sealed is None else _signed(sealed),
    )
    packages = f"Python {plan.code.python}, {len(plan.code.packages)} packages"
    table.add_row("code", escape(packages), "", "", escape(plan.code.measurement))
    return table


def _signed(dataset: DatasetRef) -> str:
    return f"manifest {dataset.manifest_sha256}, signed by {escape(dataset.signer)}"


def _reads(plan: Plan) -> Table:
    table = _table("Reads", "folder", "objects", "bytes")
    folders: dict[str, list[int]] = defaultdict(list)
    for item in plan.objects.reads:
        folders[item.uri.rpartition("/")[0] + "/"].append(item.size_bytes)
    for folder, sizes in sorted(folders.items()):
        table.add_row(escape(folder), f"{len(sizes):,}", size_text(sum(sizes)))
    total = sum(item.size_bytes for item in plan.objects.reads)
    table.add_section()
    table.add_row("total", f"{len(plan.objects.reads):,}", size_text(total))
    return table


def _writes(plan: Plan) -> Table:
    table = _table("Writes (created once, never replaced, never deleted)", "folder", "objects")
    folders: dict[str, list[str]] = defaultdict(list)
    for uri in plan.objects.writes.objects:
        folder, _, name = uri.rpartition("/")
        folders[folder + "/"].append(name)
    for folder, names in sorted(folders.items()):
        table.add_row(escape(folder), escape(", ".join(sorted(names))))
    table.add_row(escape(plan.audit), "the audit log")
    return table


def _leases(leases: Iterable[LeaseRef]) -> Table:
    table = _table(
        "Leases (none can delete)", "purpose", "role", "may read", "may create", "lifetime"
    )
    for lease in leases:
        table.add_row(
            lease.purpose,
            escape(lease.role),
            escape("\n".join(f"{lease.bucket}/{prefix}" for prefix in lease.read)) or "–",
            escape("\n".join(f"{lease.bucket}/{prefix}" for prefix in lease.create)) or "–",
            duration_text(lease.ttl_s),
        )
    return table


def _keys(plan: Plan) -> Table:
    table = _table(
        "Keys (by reference; the broker and the controller never hold one)", "use", "key"
    )
    table.add_row("open the datasets", escape(plan.keys.data))
    table.add_row("seal what the run writes", escape(plan.keys.outputs))
    table.add_row("sign the audit log", escape(plan.keys.audit))
    return table


def _limits(plan: Plan) -> Table:
    table = _table("Limits", "what", "at most")
    bits = plan.capacity_bits
    table.add_row(
        "that numbers could carry out of the enclave", f"{bits:,} bits ({bits / 8:,.0f} B)"
    )
    metrics = ", ".join(plan.evaluator.metrics) or "none"
    table.add_row("metrics that the evaluator may report", escape(metrics))
    table.add_row("one call of the evaluator", duration_text(plan.evaluator.timeout_s))
    if plan.evaluator.score_range is not None:
        low, high = plan.evaluator.score_range
        table.add_row("a score", f"{low:g} to {high:g}")
    return table


def _verdict(decision: Decision) -> str:
    if decision.allowed:
        text = f"[green]Admitted[/green]: {len(decision.passed)} rules passed"
        exceptions = [f"{waived.rule} until {waived.expires}" for waived in decision.waived]
        return text + (f"; waived: {escape(', '.join(exceptions))}" if exceptions else "")
    rules = sorted({denial.rule for denial in decision.denials})
    return f"[red]Denied[/red] by {len(rules)} of the policy's rules: {escape(', '.join(rules))}"
