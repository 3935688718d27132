"""How commands read a run file."""

from __future__ import annotations

import os
from pathlib import Path

from strongroom.connectors.stack.errors import StackNotFound
from strongroom.pipeline.embedded.places import Places
from strongroom.pipeline.runfile.load import LoadedRun, load
from strongroom.pipeline.runfile.variables import parameters


def read_run_file(run_file: Path, params: list[str] | None, state: Path) -> LoadedRun:
    """A run file with its variables: environment, --param, and those of an embedded stack."""
    given = parameters(params or [])
    try:
        variables = Places.load(state).variables()
    except StackNotFound:
        variables = {}
    return load(run_file, env=os.environ, params=given, stack=variables)
