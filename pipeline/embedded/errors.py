"""Errors of setting up the embedded stack's first run."""

from __future__ import annotations

from strongroom.errors import Exit, Fault
from strongroom.pipeline.errors import ProcessError


class ScaffoldExists(ProcessError):
    """A file that ``strongroom init`` would write is there already."""

    code = "SR-RUN-211"
    title = "the file exists already"
    fault = Fault.INPUT
    exit_code = Exit.BAD_INPUT
    remedy = "Choose another folder; nothing is overwritten."
