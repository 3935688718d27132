"""``data.strongroom_plan``: what a run would read, write and lease, and what the policy says.

It is read at ``terraform plan``, so that a reviewer sees errors and denials there: each on the
parameter that the run file's line takes its value from, else on ``run_file``.
"""

from __future__ import annotations

import json
from typing import Any

from tf.iface import DataSource, ReadDataContext
from tf.schema import Schema
from tf.types import Number, String

from strongroom_terraform.attributes import attribute_of, computed, run_file
from strongroom_terraform.command import (
    CommandFailed,
    Configured,
    params_options,
    report,
    visible,
)

COMPUTED = {
    "id": (String(), "The run's id: name and intent."),
    "intent": (
        String(),
        "SHA-256 of what the run file asks for, evaluator included. A run is replaced when it "
        "changes.",
    ),
    "digest": (String(), "SHA-256 of the whole plan: intent, data, code, policy."),
    "objects": (String(), "Exact objects that are read and written, as JSON."),
    "leases": (
        String(),
        "Credentials that the run takes: bucket, prefixes, lifetime, as JSON.",
    ),
    "capacity_bits": (Number(), "Most bits that numbers may carry out of the enclave."),
}


class PlanSource(DataSource):
    """The plan of one run file."""

    def __init__(self, provider: Configured) -> None:
        self._strongroom = provider.strongroom

    @classmethod
    def get_name(cls) -> str:
        return "plan"

    @classmethod
    def get_schema(cls) -> Schema:
        return Schema(
            version=0,
            description="What a run would read, write and lease. Denials by the policy and "
            "mistakes in the run file are errors of `terraform plan`.",
            attributes=[
                *run_file(),
                *computed(COMPUTED),
            ],
        )

    def read(self, ctx: ReadDataContext, config: dict[str, Any]) -> dict[str, Any] | None:
        params = config.get("params")
        try:
            found = self._strongroom(
                "plan", config["run_file"], "--stable-id", *params_options(params)
            )
        except CommandFailed as failed:
            report(ctx.diagnostics, failed, lambda place: attribute_of(config, place))
            return None
        for denial in found["denials"]:
            ctx.diagnostics.add_error(
                f"denied by policy rule {denial['rule']}",
                f"place:     {visible(denial['place'])}\n"
                f"expected:  {visible(denial['expected'])}\n"
                f"found:     {visible(denial['actual'])}\n"
                f"fix:       {visible(denial['fix'])}",
                path=attribute_of(config, denial["place"]),
            )
        if found["denials"]:
            return None
        plan = found["plan"]
        return {
            "run_file": config["run_file"],
            "params": params,
            "id": found["id"],
            "intent": found["intent"],
            "digest": found["digest"],
            "objects": json.dumps(plan["objects"], sort_keys=True),
            "leases": json.dumps(plan["leases"], sort_keys=True),
            "capacity_bits": plan["capacity_bits"],
        }
