"""The provider's own settings, and what it offers."""

from __future__ import annotations

from typing import Any

from tf.iface import DataSource, Provider, Resource
from tf.schema import Attribute, Schema
from tf.types import String
from tf.utils import Diagnostics

from strongroom_terraform.command import Strongroom
from strongroom_terraform.dataset import Dataset
from strongroom_terraform.plan import PlanSource
from strongroom_terraform.policy_bundle import PolicyBundle
from strongroom_terraform.run import Run
from strongroom_terraform.stack import Stack


class StrongroomProvider(Provider):
    """Calls one installed ``strongroom`` command."""

    strongroom = Strongroom("strongroom", None)

    def get_model_prefix(self) -> str:
        return "strongroom_"

    def full_name(self) -> str:
        return "registry.terraform.io/strongroom/strongroom"

    def get_provider_schema(self, diags: Diagnostics) -> Schema:
        return Schema(
            attributes=[
                Attribute(
                    "command",
                    String(),
                    optional=True,
                    description="Path of the `strongroom` command; default: found on `PATH`.",
                ),
                Attribute(
                    "state",
                    String(),
                    optional=True,
                    description="Folder of the embedded stack and of what is known of runs; "
                    "default: the command's own.",
                ),
                Attribute(
                    "owner",
                    String(),
                    optional=True,
                    description="Path of the owner file, for `strongroom_dataset` in a bucket of "
                    "your own; default: the embedded stack's owner.",
                ),
            ]
        )

    def validate_config(self, diags: Diagnostics, config: dict[str, Any]) -> None:
        """Nothing that Terraform's types do not say already."""

    def configure_provider(self, diags: Diagnostics, config: dict[str, Any]) -> None:
        self.strongroom = Strongroom(
            config.get("command") or "strongroom", config.get("state"), config.get("owner")
        )

    def get_data_sources(self) -> list[type[DataSource]]:
        return [PlanSource]

    def get_resources(self) -> list[type[Resource]]:
        return [Dataset, PolicyBundle, Run, Stack]
