"""``strongroom rollouts``."""

from __future__ import annotations

from typing import Annotated

import typer

from strongroom.pipeline.cli.console import out
from strongroom.pipeline.cli.options import STATE, Json, RunId, State
from strongroom.pipeline.cli.reporting import reporting


def rollouts(
    run: RunId,
    step: Annotated[int, typer.Option(help="Step of the checkpoint; default: the last.")] = 0,
    state: State = STATE,
    as_json: Json = False,
) -> None:
    """Show a run's sample rollouts; needs the output key, opens them without network."""
    from strongroom.pipeline.background import registry
    from strongroom.pipeline.inspection import status
    from strongroom.pipeline.keyholder.rollouts import show_rollouts

    with reporting(as_json):
        spec = registry.recall(state, run)
        wanted = step or status.last_checkpoint(spec, run)
        show_rollouts(
            spec, run, wanted, out.descriptor, as_json=as_json, in_ascii=not out.is_unicode
        )
