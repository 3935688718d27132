"""What ``verify`` and ``report`` have in common: which run, from where, held to what."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from strongroom.pipeline.cli.options import Vkey

if TYPE_CHECKING:
    from strongroom.pipeline.broker.reading import RunReader
    from strongroom.pipeline.inspection.trust import Trust
    from strongroom.pipeline.runfile.spec import RunSpec

__all__ = ["Offline", "RunFileOption", "Since", "Vkey", "WhichRun", "Witness", "reading"]

WhichRun = Annotated[str, typer.Argument(help="The run's id, or the address of its folder.")]
Since = Annotated[
    list[Path] | None,
    typer.Option(
        "--since",
        help="File with a checkpoint that was kept: the log has to extend it. May be repeated.",
    ),
]
Witness = Annotated[
    list[str] | None,
    typer.Option(
        "--witness",
        help="Verifier key, or a file with it, of a witness that must have signed the checkpoint, "
        "or those of --since. May be repeated.",
    ),
]
Offline = Annotated[
    Path | None,
    typer.Option("--offline", help="Folder with a copy of each bucket; needs --vkey."),
]
RunFileOption = Annotated[
    Path | None,
    typer.Option("--run-file", help="The run's file, on a machine that did not start the run."),
]


def reading(
    run: str,
    *,
    state: Path,
    vkey: str | None,
    since: list[Path] | None,
    witness: list[str] | None,
    offline: Path | None,
    run_file: Path | None,
) -> tuple[RunReader, str, Trust]:
    """A run to read, its id, and what it is held to."""
    from strongroom.pipeline.background import registry
    from strongroom.pipeline.broker.reading import ReadAccess
    from strongroom.pipeline.cli.run_file import read_run_file
    from strongroom.pipeline.inspection import trust, which
    from strongroom.pipeline.inspection.log import Logs

    key = trust.read_key(vkey)
    kept = {str(path): trust.read_note(path) for path in since or ()}
    witnesses = [trust.read_witness(each) for each in witness or ()]
    logs = Logs(state, key)
    reader: RunReader
    if offline is not None:
        if key is None:
            raise typer.BadParameter("--offline needs the log's verifier key: --vkey")
        reader = which.in_copy(offline, key, run)
        run_id = reader.layout.run
    else:

        def recall(run_id: str) -> RunSpec:
            if run_file is not None:
                return read_run_file(run_file, None, state).spec
            return registry.recall(state, run_id)

        spec, run_id = which.spec_of(run, recall)
        key = logs.key(spec)
        reader = ReadAccess(spec, run_id)
    return reader, run_id, trust.Trust(key, logs.copy(key), kept, witnesses)
