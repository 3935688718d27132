"""``strongroom docs``, for those who change the code."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def docs(folder: Annotated[Path, typer.Argument()] = Path("docs/reference")) -> None:
    """Generate the references of run file, errors, events and controls."""
    from strongroom.pipeline.cli.docs.reference import write_references

    write_references(folder)
