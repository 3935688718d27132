"""``strongroom_policy_bundle``: the installed version's rules with the customer's settings."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

from tf.iface import (
    CreateContext,
    DeleteContext,
    ImportContext,
    PlanContext,
    ReadContext,
    Resource,
    UpdateContext,
)
from tf.schema import Attribute, Schema
from tf.types import Bool, NormalizedJson, String, Unknown
from tf.utils import Diagnostics

from strongroom_terraform.attributes import computed
from strongroom_terraform.command import CommandFailed, Configured, report

COMPUTED = {
    "id": (String(), "The folder."),
    "digest": (String(), "SHA-256 of rules and settings, as a plan pins it."),
    "current": (Bool(), "Whether the rules are those of the installed version; made so if not."),
}
BUNDLE_MISSING = "SR-POLICY-002"


class PolicyBundle(Resource):
    """A folder with a policy bundle."""

    def __init__(self, provider: Configured) -> None:
        self._strongroom = provider.strongroom

    @classmethod
    def get_name(cls) -> str:
        return "policy_bundle"

    @classmethod
    def get_schema(cls) -> Schema:
        return Schema(
            version=0,
            description="A policy bundle: the rules that come with the installed version, and what "
            "the customer decides.",
            attributes=[
                Attribute(
                    "folder",
                    String(),
                    required=True,
                    requires_replace=True,
                    description="Where the bundle is written; the run file's `policy.bundle`.",
                ),
                Attribute(
                    "settings",
                    NormalizedJson(),
                    required=True,
                    description="The customer's settings as JSON, see docs/reference/policy.md.",
                ),
                *computed(COMPUTED),
            ],
        )

    def create(self, ctx: CreateContext, planned: dict[str, Any]) -> dict[str, Any] | None:
        return self._write(ctx.diagnostics, planned)

    def update(
        self, ctx: UpdateContext, current: dict[str, Any], planned: dict[str, Any]
    ) -> dict[str, Any] | None:
        return self._write(ctx.diagnostics, planned)

    def _write(self, diagnostics: Diagnostics, planned: dict[str, Any]) -> dict[str, Any] | None:
        with tempfile.TemporaryDirectory() as scratch:
            settings = Path(scratch) / "settings.json"
            settings.write_text(json.dumps(planned["settings"]), encoding="utf-8")
            try:
                found = self._strongroom(
                    "policy", "write", planned["folder"], "--settings", str(settings)
                )
            except CommandFailed as failed:
                report(diagnostics, failed, lambda _: ["settings"])
                return None
        return {
            **planned,
            "id": planned["folder"],
            "digest": found["digest"],
            "current": found["current"],
        }

    def plan(
        self, ctx: PlanContext, current: dict[str, Any] | None, planned: dict[str, Any]
    ) -> dict[str, Any]:
        outdated = current is not None and not current["current"]
        if "settings" in ctx.changed_fields or outdated:
            planned |= {"digest": Unknown, "current": True}
        return planned

    def read(self, ctx: ReadContext, current: dict[str, Any]) -> dict[str, Any] | None:
        try:
            found = self._show(current["folder"])
        except CommandFailed as failed:
            if failed.has(BUNDLE_MISSING):
                return None
            report(ctx.diagnostics, failed, lambda _: ["folder"])
            return current
        # The folder spells every default out; with the same digest it says what was written.
        if found["digest"] == current["digest"]:
            return {**current, "current": found["current"]}
        return {**current, **found}

    def delete(self, ctx: DeleteContext, current: dict[str, Any]) -> None:
        ctx.diagnostics.add_warning(
            "the policy bundle stays in its folder",
            f"{current['folder']} is no longer managed. Runs that name it are judged by it.",
        )

    def import_(self, ctx: ImportContext, name: str) -> dict[str, Any] | None:
        try:
            return {"folder": name, "id": name, **self._show(name)}
        except CommandFailed as failed:
            report(ctx.diagnostics, failed, lambda _: None)
            return None

    def _show(self, folder: str) -> dict[str, Any]:
        found = self._strongroom("policy", "show", folder)
        return {name: found[name] for name in ("settings", "digest", "current")}
