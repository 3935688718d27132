"""``strongroom_run``: one training run.

A run is what its intent says, so it is replaced when the intent changes and never otherwise. Its
id is derived from the intent: an ``apply`` that was interrupted finds the run that it started, and
a finished run is taken as it is. Destroying cancels a run that still goes on; what it wrote, and
the log, stay.
"""

from __future__ import annotations

from typing import Any

from tf.iface import (
    CreateContext,
    DeleteContext,
    ImportContext,
    ReadContext,
    Resource,
    UpdateContext,
)
from tf.schema import Attribute, Schema
from tf.types import Bool, Map, Number, String

from strongroom_terraform.attributes import attribute_of, computed, run_file
from strongroom_terraform.command import (
    CommandFailed,
    Configured,
    params_options,
    report,
    visible,
)

RUN_UNKNOWN = "SR-RUN-203"
RUN_ENDED = "SR-RUN-217"
COMPUTED = {
    "id": (String(), "The run's id."),
    "status": (
        String(),
        "`submitted`, `running`, `completed`, `failed`, `cancelled`, `denied`, `interrupted`, or "
        "`unknown` where the log says nothing of it.",
    ),
    "step": (Number(), "Steps done."),
    "metrics": (Map(Number()), "Held-out numbers by phase and name, such as `after.score`."),
    "adapter_sha256": (String(), "SHA-256 of the adapter that is the result."),
    "outputs": (String(), "Folder of the run's sealed outputs."),
    "plan_digest": (String(), "SHA-256 of the plan that was admitted."),
    "log_origin": (String(), "Name of the audit log."),
    "log_size": (Number(), "Entries of the log when the run was last looked at."),
    "log_root": (String(), "Root hash of the log at that size."),
    "report": (String(), "Path of the report, when the run has completed."),
}


class Run(Resource):
    """A submitted run."""

    def __init__(self, provider: Configured) -> None:
        self._strongroom = provider.strongroom

    @classmethod
    def get_name(cls) -> str:
        return "run"

    @classmethod
    def get_schema(cls) -> Schema:
        return Schema(
            version=0,
            description="A training run: created means submitted. Immutable; destroying it cancels "
            "it and never deletes outputs or log.",
            attributes=[
                *run_file(),
                Attribute(
                    "run_id",
                    String(),
                    required=True,
                    requires_replace=True,
                    description="The run's id: `data.strongroom_plan.….id`, or one of your own.",
                ),
                Attribute(
                    "intent",
                    String(),
                    required=True,
                    requires_replace=True,
                    description="`data.strongroom_plan.….intent`: what was planned is what runs.",
                ),
                Attribute(
                    "wait",
                    Bool(),
                    optional=True,
                    description="Whether `apply` waits for the run's end; default true.",
                ),
                *computed(COMPUTED),
            ],
        )

    def create(self, ctx: CreateContext, planned: dict[str, Any]) -> dict[str, Any] | None:
        run = planned["run_id"]
        options = params_options(planned.get("params"))
        try:
            # Asking again for the same run is no error: it is found wherever it stands.
            submitted = self._strongroom(
                "run", planned["run_file"], *options,
                "--id", run, "--intent", planned["intent"], "--detach",
            )  # fmt: skip
        except CommandFailed as failed:
            report(ctx.diagnostics, failed, lambda place: attribute_of(planned, place))
            return None
        try:
            if planned.get("wait") is not False:
                self._strongroom("wait", run)
            [row] = self._strongroom("status", run)
            found = self._computed(row)
        except CommandFailed as failed:
            # Terraform knows it from here on, as tainted: destroying it cancels it.
            report(ctx.diagnostics, failed, lambda place: attribute_of(planned, place))
            found = dict.fromkeys(COMPUTED) | {"id": run, "status": submitted["state"]}
        return {**planned, **found}

    def read(self, ctx: ReadContext, current: dict[str, Any]) -> dict[str, Any] | None:
        # A finished run cannot change, and the log that it is in grows with other runs.
        if current["status"] == "completed" and current.get("report"):
            return current
        try:
            [row] = self._strongroom("status", current["id"])
            found = self._computed(row)
        except CommandFailed as failed:
            if failed.has(RUN_UNKNOWN):
                ctx.diagnostics.add_warning(
                    "SR-TERRAFORM-004 the run was submitted on another machine, or with another "
                    "state folder",
                    f"{current['id']} is shown as it was last seen here.",
                    path=["run_id"],
                )
            else:
                report(ctx.diagnostics, failed, lambda _: ["run_id"])
            return current
        if found["status"] in ("failed", "denied", "interrupted", "cancelled"):
            why = visible(" ".join(filter(None, (row["code"], row["reason"]))))
            ctx.diagnostics.add_warning(
                f"the run is {found['status']}",
                f"{current['id']}: {why or 'no process of this machine drives it'}\n"
                "`terraform apply -replace=ADDRESS` goes on with it.",
                path=["run_id"],
            )
        return {**current, **found}

    def update(
        self, ctx: UpdateContext, current: dict[str, Any], planned: dict[str, Any]
    ) -> dict[str, Any]:
        # Only where the file lies, how it spells the same intent, and whether to wait.
        return planned

    def delete(self, ctx: DeleteContext, current: dict[str, Any]) -> None:
        if current["status"] in ("completed", "failed", "denied", "cancelled"):
            return
        try:
            self._strongroom("cancel", current["id"])
        except CommandFailed as failed:
            # One that this machine does not know may go on elsewhere: no silent success.
            if not failed.has(RUN_ENDED):
                report(ctx.diagnostics, failed, lambda _: ["run_id"])

    def import_(self, ctx: ImportContext, name: str) -> dict[str, Any] | None:
        try:
            [row] = self._strongroom("status", name)
            found = self._computed(row)
        except CommandFailed as failed:
            report(ctx.diagnostics, failed, lambda _: None)
            return None
        return {
            "run_file": row["run_file"],
            "params": None,
            "run_id": name,
            "intent": row["intent"],
            "wait": None,
            **found,
        }

    def _computed(self, row: dict[str, Any]) -> dict[str, Any]:
        """The computed attributes of a run of this status; a completed one gets its report."""
        report_path = None
        if row["state"] == "completed":
            report_path = self._strongroom("report", row["run"])["report"]
        log = row["log"] or {"origin": None, "size": None, "root": None}
        return {
            "id": row["run"],
            "status": row["state"],
            "step": row["step"],
            "metrics": {
                f"{phase}.{name}": value
                for phase, values in row["metrics"].items()
                for name, value in values.items()
            },
            "adapter_sha256": row["adapter_sha256"],
            "outputs": row["outputs"],
            "plan_digest": row["plan"],
            "log_origin": log["origin"],
            "log_size": log["size"],
            "log_root": log["root"],
            "report": report_path,
        }
