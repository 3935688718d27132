"""What no error class foresees, as an error: class and place only, never its text."""

from __future__ import annotations

import traceback

from strongroom.errors import StrongroomError


class Defect(StrongroomError):
    """Something that no error class foresees."""

    code = "SR-PROC-002"
    title = "an unexpected failure"
    remedy = "This is a defect of Strongroom; report the class and place above. No data is lost."


def defect(error: BaseException) -> Defect:
    """An unforeseen exception as an error: class and place only, never its text."""
    frames = traceback.extract_tb(error.__traceback__)
    where = f"{frames[-1].filename.rpartition('/')[2]}:{frames[-1].lineno}" if frames else ""
    return Defect(place=where, actual=type(error).__name__)
