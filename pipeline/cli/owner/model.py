"""``strongroom model …``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from strongroom.pipeline.cli.console import out, print_json
from strongroom.pipeline.cli.options import STATE, Json, OwnerPath, State
from strongroom.pipeline.cli.reporting import reporting
from strongroom.pipeline.cli.watching import following


def upload(
    folder: Annotated[Path, typer.Argument(help="Folder of a transformers model.")],
    uri: Annotated[str, typer.Argument(help="Prefix of the model in the bucket; ends with /.")],
    owner: OwnerPath = None,
    state: State = STATE,
    as_json: Json = False,
) -> None:
    """Put a base model into the bucket, and print the digest that run files pin."""
    from strongroom.pipeline.cli.owner.target import data_owner
    from strongroom.pipeline.owner import model_upload

    with reporting(as_json):
        who = data_owner(owner, state)
        with following(as_json) as watcher:
            watcher.stage("upload")
            digest = model_upload.upload(who, folder, uri)
        if as_json:
            print_json({"uri": uri, "digest": digest})
        else:
            out.say(f"base: {uri}")
            out.say(f"digest: {digest}")
