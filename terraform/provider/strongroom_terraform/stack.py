"""``strongroom_stack``: the embedded stack on this machine, for trying things out."""

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
from tf.types import String
from tf.utils import Diagnostics

from strongroom_terraform.attributes import computed
from strongroom_terraform.command import CommandFailed, Configured, report

COMPUTED = {
    "data_uri": "The data bucket.",
    "audit_uri": "Where the audit log lies.",
    "data_key": "Key that wraps datasets' keysets.",
    "outputs_key": "Key that wraps runs' output keysets.",
    "audit_key": "Key that signs the audit log.",
    "model_uri": "The examples' base model.",
    "model_digest": "Its digest.",
    "policy_bundle": "Folder of the owner's policy bundle.",
}


class Stack(Resource):
    """Servers, buckets and keys on loopback, in the provider's state folder."""

    def __init__(self, provider: Configured) -> None:
        self._strongroom = provider.strongroom

    @classmethod
    def get_name(cls) -> str:
        return "stack"

    @classmethod
    def get_schema(cls) -> Schema:
        return Schema(
            version=0,
            description="The embedded stack: an S3 server, a key service and a releaser on "
            "loopback, with the examples' base model. Destroying it stops the servers; what they "
            "store stays in the state folder.",
            attributes=[
                Attribute("id", String(), computed=True, description="The state folder."),
                *computed({name: (String(), text) for name, text in COMPUTED.items()}),
            ],
        )

    def create(self, ctx: CreateContext, planned: dict[str, Any]) -> dict[str, Any] | None:
        return self._up(ctx.diagnostics, "--with-model")

    def read(self, ctx: ReadContext, current: dict[str, Any]) -> dict[str, Any] | None:
        # What has stopped, after a restart of the machine for one, is started again: data sources
        # are read with it.
        return self._up(ctx.diagnostics) or current

    def _up(self, diagnostics: Diagnostics, *options: str) -> dict[str, Any] | None:
        try:
            self._strongroom("stack", "up", *options)
            found = self._strongroom("stack", "show")
        except CommandFailed as failed:
            report(diagnostics, failed, lambda _: None)
            return None
        return {"id": found["state"], **{name: found[name] for name in COMPUTED}}

    def update(
        self, ctx: UpdateContext, current: dict[str, Any], planned: dict[str, Any]
    ) -> dict[str, Any]:
        return planned

    def delete(self, ctx: DeleteContext, current: dict[str, Any]) -> None:
        try:
            self._strongroom("stack", "down")
        except CommandFailed as failed:
            report(ctx.diagnostics, failed, lambda _: None)

    def import_(self, ctx: ImportContext, name: str) -> dict[str, Any] | None:
        return self._up(ctx.diagnostics, "--with-model")
