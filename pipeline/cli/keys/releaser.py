"""``strongroom releaser …``: the key owner's process, and the code that it approves."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from strongroom.pipeline.cli.console import out, print_json
from strongroom.pipeline.cli.options import Json
from strongroom.pipeline.cli.reporting import reporting


def serve(
    config: Annotated[Path, typer.Argument(help="The releaser's settings (releaser.json).")],
    as_json: Json = False,
) -> None:
    """Answer on the releaser's socket until stopped."""
    from strongroom.pipeline.releaser.process import main

    with reporting(as_json):
        main(str(config))


def adopt(
    config: Annotated[Path, typer.Argument(help="The releaser's settings (releaser.json).")],
    checkpoint: Annotated[
        Path,
        typer.Option(
            "--checkpoint",
            help="The newest checkpoint that somebody else has kept: the log in the bucket has to "
            "extend it.",
        ),
    ],
    as_json: Json = False,
) -> None:
    """Take the log in the bucket for the releaser's memory of it, which was lost.

    What was in the log after the checkpoint and is not in the bucket now is given up for lost.
    """
    from strongroom.pipeline.releaser.adoption import adopt as take_over

    with reporting(as_json):
        size = take_over(config, checkpoint)
        if as_json:
            print_json({"size": size})
        else:
            out.say(f"the releaser remembers {size} entries; start it")


def measure(as_json: Json = False) -> None:
    """Print the measurement of the enclave's code as installed here, for the owner to approve."""
    from strongroom.enclave import measurement

    with reporting(as_json):
        measured = measurement.measure(anew=True)
        if as_json:
            parts = list(measurement.components(anew=True))
            print_json({"measurement": measured, "components": parts})
        else:
            out.say(measured)
