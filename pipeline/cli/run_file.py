"""How commands read a run file."""

from __future__ import annotations

import os
from pathlib import Path

from strongroom.connectors.stack.errors import StackNotFound
from strongroom.pipeline.embedded.places import Places
from strongroom.pipeline.runfile.load import LoadedRun, load


def read_run_file(run_file: Path, params: list[str] | None, state: Path) -> LoadedRun:
    """A run file with its variables: environment, --param, and those of an embedded stack."""
    try:
        variables = Places.load(state).variables()
    except StackNotFound:
        variables = {}
    given = dict(item.partition("=")[::2] for item in params or [])
    return load(run_file, env=os.environ, params=given, stack=variables)
