"""``strongroom seal``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from strongroom.pipeline.cli.console import out, print_json
from strongroom.pipeline.cli.options import STATE, Json, OwnerPath, State
from strongroom.pipeline.cli.reporting import reporting
from strongroom.pipeline.cli.watching import following


def seal(
    source: Annotated[Path, typer.Argument(help="JSONL or Parquet file, or a folder of them.")],
    uri: Annotated[str, typer.Argument(help="Prefix of the new dataset; ends with /.")],
    key: Annotated[str, typer.Option(help="Key that wraps the dataset's keyset.")],
    name: Annotated[str, typer.Option(help="Name of the dataset; default: from the URI.")] = "",
    records_per_shard: Annotated[int, typer.Option(min=1)] = 100_000,
    owner: OwnerPath = None,
    state: State = STATE,
    as_json: Json = False,
) -> None:
    """Seal rows into a dataset: encrypted shards and a signed manifest."""
    from strongroom.pipeline.cli.owner.target import data_owner, dataset_name
    from strongroom.pipeline.owner.seal import describe
    from strongroom.pipeline.owner.seal import seal as seal_rows

    with reporting(as_json):
        who = data_owner(owner, state)
        target = who.locate(uri)
        with following(as_json) as watcher:
            watcher.stage("seal_rows")
            sealed = seal_rows(
                source,
                target,
                who.bucket(target),
                who.releaser,
                kms=key,
                name=name or dataset_name(target.key),
                records_per_shard=records_per_shard,
                progress=lambda records: watcher.progress("seal", records, 0),
            )
        if as_json:
            print_json(describe(sealed))
        else:
            shards = len(sealed.manifest.shards)
            out.say(f"sealed {sealed.manifest.records} records in {shards} shards at {sealed.uri}")
            out.say(f"manifest {sealed.manifest_sha256}")
            out.say(f"signed by {sealed.signer}")
