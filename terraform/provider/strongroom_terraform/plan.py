"""``data.strongroom_plan``: what a run would read, write and lease, and what the policy says.

It is read at ``terraform plan``, so that a reviewer sees errors and denials there: each on the
parameter that the run file's line takes its value from, else on ``run_file``.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tf.iface import DataSource, ReadDataContext
from tf.schema import Schema
from tf.types import Number, String

from strongroom_terraform.attributes import computed, run_file
from strongroom_terraform.command import CommandFailed, params_options, report

if TYPE_CHECKING:
    from strongroom_terraform.provider import StrongroomProvider

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
_LINE = re.compile(r":(\d+)(?::\d+)?$")
_PARAM = re.compile(r"\$\{params\.([A-Za-z_][A-Za-z0-9_]*)\}")


class PlanSource(DataSource):
    """The plan of one run file."""

    def __init__(self, provider: StrongroomProvider) -> None:
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
                f"place:     {denial['place']}\nexpected:  {denial['expected']}\n"
                f"found:     {denial['actual']}\nfix:       {denial['fix']}",
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


def attribute_of(config: dict[str, Any], place: str) -> list[Any]:
    """The attribute that an error at ``place`` (``run.yaml:9:3``) is about."""
    match = _LINE.search(place)
    if match is not None:
        try:
            lines = Path(config["run_file"]).read_text(encoding="utf-8").splitlines()
            found = _PARAM.search(lines[int(match[1]) - 1])
        except (OSError, UnicodeDecodeError, IndexError):
            found = None
        if found is not None and found[1] in (config.get("params") or {}):
            return ["params", (found[1],)]
    return ["run_file"]
