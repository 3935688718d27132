"""``strongroom_dataset``: rows, sealed and published under a prefix of the data bucket.

A dataset never changes: a prefix that holds one is not written again, so other rows belong under
another prefix. Destroying one forgets it. Nothing is deleted, since no credential that Strongroom
leases may delete; the bucket's owner does that with their own.
"""

from __future__ import annotations

import hashlib
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
from tf.types import Number, String, Unknown
from tf.utils import Diagnostics

from strongroom_terraform.attributes import computed
from strongroom_terraform.command import CommandFailed, Configured, report

DATASET_MISSING = "SR-SEAL-004"
SOURCES = ("*.jsonl", "*.jsonl.zst", "*.parquet")
"""What ``strongroom seal`` reads of a folder."""
COMPUTED = {
    "name": (String(), "Name in the signed manifest."),
    "manifest_sha256": (String(), "SHA-256 of the signed manifest."),
    "signer": (String(), "Public key that signed it."),
    "records": (Number(), "Rows."),
    "shards": (Number(), "Sealed objects."),
}


class Dataset(Resource):
    """A sealed dataset."""

    def __init__(self, provider: Configured) -> None:
        self._strongroom = provider.strongroom

    @classmethod
    def get_name(cls) -> str:
        return "dataset"

    @classmethod
    def get_schema(cls) -> Schema:
        return Schema(
            version=0,
            description="Rows sealed into the data bucket: encrypted shards and a signed manifest. "
            "No row ever enters Terraform's state.",
            attributes=[
                Attribute(
                    "source",
                    String(),
                    required=True,
                    description="JSONL or Parquet file, or a folder of them, on this machine.",
                ),
                Attribute(
                    "uri",
                    String(),
                    required=True,
                    requires_replace=True,
                    description="Prefix of the dataset; ends with `/`. Other rows need another: "
                    "put part of `filesha256(source)` into it.",
                ),
                Attribute(
                    "key",
                    String(),
                    required=True,
                    requires_replace=True,
                    description="Reference of the key that wraps the dataset's keyset.",
                ),
                Attribute(
                    "records_per_shard",
                    Number(),
                    optional=True,
                    requires_replace=True,
                    description="Default 100,000.",
                ),
                Attribute(
                    "id",
                    String(),
                    computed=True,
                    description="The prefix, once the dataset is there.",
                ),
                Attribute(
                    "source_sha256",
                    String(),
                    computed=True,
                    description="SHA-256 of the rows' files, so that a change of them under the "
                    "same `uri` is an error of `terraform plan`.",
                ),
                *computed(COMPUTED),
            ],
        )

    def create(self, ctx: CreateContext, planned: dict[str, Any]) -> dict[str, Any] | None:
        options = []
        if planned.get("records_per_shard") is not None:
            options = ["--records-per-shard", str(int(planned["records_per_shard"]))]
        digest = source_digest(planned["source"])
        try:
            found = self._strongroom(
                "seal", planned["source"], planned["uri"], "--key", planned["key"], *options
            )
        except CommandFailed as failed:
            report(ctx.diagnostics, failed, lambda place: _attribute(planned, place))
            return None
        if source_digest(planned["source"]) != digest:
            _changed(ctx.diagnostics, planned["source"], "the rows have changed while sealed")
        return {**planned, "id": planned["uri"], "source_sha256": digest, **_computed(found)}

    def plan(
        self, ctx: PlanContext, current: dict[str, Any] | None, planned: dict[str, Any]
    ) -> dict[str, Any]:
        if current is None or "uri" in ctx.changed_fields:
            return planned
        known, now = current["source_sha256"], source_digest(planned["source"])
        if now and known is None:  # one that was imported
            planned["source_sha256"] = Unknown
        elif now and now != known:
            _changed(ctx.diagnostics, planned["source"], "the rows have changed under the same uri")
        return planned

    def read(self, ctx: ReadContext, current: dict[str, Any]) -> dict[str, Any] | None:
        try:
            found = self._strongroom("dataset", current["uri"])
        except CommandFailed as failed:
            if failed.has(DATASET_MISSING):
                return None
            report(ctx.diagnostics, failed, lambda place: _attribute(current, place))
            return current
        return {**current, **_computed(found)}

    def update(
        self, ctx: UpdateContext, current: dict[str, Any], planned: dict[str, Any]
    ) -> dict[str, Any]:
        # Only the path of the same rows.
        if planned["source_sha256"] is Unknown:
            planned["source_sha256"] = source_digest(planned["source"])
        return planned

    def delete(self, ctx: DeleteContext, current: dict[str, Any]) -> None:
        ctx.diagnostics.add_warning(
            "the sealed dataset stays in the bucket",
            f"{current['uri']} is no longer managed and was not deleted: Strongroom has no "
            "credential that may delete. The bucket's owner can.",
        )

    def import_(self, ctx: ImportContext, name: str) -> dict[str, Any] | None:
        try:
            found = self._strongroom("dataset", name)
        except CommandFailed as failed:
            report(ctx.diagnostics, failed, lambda _: None)
            return None
        return {
            "source": "",
            "source_sha256": None,
            "uri": name,
            "key": found["keyset"]["kms"],
            "records_per_shard": None,
            "id": name,
            **_computed(found),
        }


def source_digest(source: Any) -> str | None:
    """SHA-256 over names and contents of the files of rows.

    None where there is none, none that may be read, or none that Terraform knows yet.
    """
    if not isinstance(source, str):
        return None
    path = Path(source)
    files = [path]
    if path.is_dir():
        files = sorted(each for kind in SOURCES for each in path.glob(kind))
    whole = hashlib.sha256()
    try:
        for each in files:
            with each.open("rb") as file:
                digest = hashlib.file_digest(file, "sha256").digest()
            whole.update(each.name.encode() + b"\0" + digest)
    except OSError:
        return None
    return f"sha256:{whole.hexdigest()}" if files else None


def _changed(diagnostics: Diagnostics, source: str, title: str) -> None:
    diagnostics.add_error(
        f"SR-TERRAFORM-003 {title}",
        f"place:     {source}\n"
        "fix:       A sealed dataset never changes: give the new rows another uri.",
        path=["uri"],
    )


def _computed(found: dict[str, Any]) -> dict[str, Any]:
    return {name: found[name] for name in COMPUTED}


def _attribute(planned: dict[str, Any], place: str) -> list[Any] | None:
    """The attribute that holds the beginning of ``place``; None where none does."""
    for name in ("uri", "key", "source"):
        if planned[name] and place.startswith(planned[name]):
            return [name]
    return None
