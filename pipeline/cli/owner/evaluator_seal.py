"""``strongroom evaluator seal``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from strongroom.pipeline.cli.console import out, print_json
from strongroom.pipeline.cli.options import STATE, Json, OwnerPath, State
from strongroom.pipeline.cli.reporting import reporting


def seal_evaluator(
    source: Annotated[Path, typer.Argument(help="The evaluator: one Python file.")],
    uri: Annotated[str, typer.Argument(help="Prefix of the sealed evaluator; ends with /.")],
    key: Annotated[str, typer.Option(help="Key that wraps its keyset.")],
    name: Annotated[str, typer.Option(help="Its name; default: from the URI.")] = "",
    owner: OwnerPath = None,
    state: State = STATE,
    as_json: Json = False,
) -> None:
    """Seal an evaluator, so that only enclaves ever see the reward code."""
    from strongroom.pipeline.cli.owner.target import data_owner, dataset_name
    from strongroom.pipeline.owner.errors import EvaluatorFileMissing
    from strongroom.pipeline.owner.seal import describe, seal

    with reporting(as_json):
        if not source.is_file():
            raise EvaluatorFileMissing(place=str(source))
        who = data_owner(owner, state)
        target = who.locate(uri)
        sealed = seal(
            source,
            target,
            who.bucket(target),
            who.releaser,
            kms=key,
            name=name or dataset_name(target.key),
            records_per_shard=1,
            is_evaluator=True,
        )
        if as_json:
            print_json(describe(sealed))
        else:
            out.say(f"sealed {source.name} at {sealed.uri}")
            out.say(f"manifest {sealed.manifest_sha256}")
            out.say(f"signed by {sealed.signer}")
