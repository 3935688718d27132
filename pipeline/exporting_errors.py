"""Errors of ``strongroom export``."""

from __future__ import annotations

from errors import Exit, Fault, StrongroomError


class ExportError(StrongroomError):
    """Branch: writing a run's weights in plain for a key holder."""

    fault = Fault.INPUT
    exit_code = Exit.BAD_INPUT


class AdapterMissing(ExportError):
    """The log knows no checkpoint of this step, or the bucket lost it."""

    code = "SR-EXPORT-001"
    title = "the run has no adapter of this step"
    remedy = "Name a step with a checkpoint, or none for the published one: `strongroom export RUN`"


class DestinationTaken(ExportError):
    """There is something where the export would go."""

    code = "SR-EXPORT-002"
    title = "the destination is not an empty folder"
    remedy = "Name a folder that does not exist yet, or an empty one; nothing is overwritten."


class ExportNotWritten(ExportError):
    """The file system refused a part of the export; nothing of it was kept."""

    code = "SR-EXPORT-003"
    title = "the export could not be written"
    fault = Fault.PLATFORM
    exit_code = Exit.FAILED
    remedy = "Free space or change rights where `--to` points, and export again."
