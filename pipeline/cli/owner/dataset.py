"""``strongroom dataset``."""

from __future__ import annotations

from typing import Annotated

import typer

from strongroom.pipeline.cli.console import out, print_json, reporting
from strongroom.pipeline.cli.options import STATE, Json, OwnerPath, State


def dataset(
    uri: Annotated[str, typer.Argument(help="Prefix of the dataset; ends with /.")],
    owner: OwnerPath = None,
    state: State = STATE,
    as_json: Json = False,
) -> None:
    """Show a sealed dataset, from its signed manifest."""
    from strongroom.pipeline.cli.owner.target import data_owner
    from strongroom.pipeline.owner.seal import describe, stored

    with reporting(as_json):
        who = data_owner(owner, state)
        target = who.locate(uri)
        found = stored(target, who.bucket(target), who.signers)
        if as_json:
            print_json(describe(found))
        else:
            out.print(
                f"{found.manifest.records} records in {len(found.manifest.shards)} shards at "
                f"{found.uri}\nmanifest {found.manifest_sha256}\nsigned by {found.signer}"
            )
