"""``strongroom dataset``."""

from __future__ import annotations

from typing import Annotated

import typer

from strongroom.pipeline.cli.console import out, print_json
from strongroom.pipeline.cli.options import STATE, Json, OwnerPath, State
from strongroom.pipeline.cli.reporting import reporting


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
            shards = len(found.manifest.shards)
            out.say(f"{found.manifest.records} records in {shards} shards at {found.uri}")
            out.say(f"manifest {found.manifest_sha256}")
            out.say(f"signed by {found.signer}")
