"""What can befall any process: an exception that nobody foresaw, output that cannot be written."""

from __future__ import annotations

import traceback

from strongroom.errors import StrongroomError


class Defect(StrongroomError):
    """An exception that is none of Strongroom's errors."""

    code = "SR-PROC-002"
    title = "an unexpected failure"
    remedy = "This is a defect of Strongroom; report the class and place above. No data is lost."


class CodeUnknown(StrongroomError):
    """Another process, or the log, names an error that this version does not have."""

    code = "SR-PROC-005"
    title = "an error that this version does not know"
    remedy = "Use the version of Strongroom that the other process has, or that drove the run."


class OutputLost(StrongroomError):
    """Standard output does not take what is written: its disk is full, or broken."""

    code = "SR-PROC-006"
    title = "not all of the output could be written"
    remedy = "What the command did is done, and only its words are lost: make room and ask again."


def defect(error: BaseException) -> Defect:
    """An unforeseen exception as an error: class and place only, never its text."""
    frames = traceback.extract_tb(error.__traceback__)
    where = f"{frames[-1].filename.rpartition('/')[2]}:{frames[-1].lineno}" if frames else ""
    return Defect(place=where, actual=type(error).__name__)
