"""Errors of opening a run's outputs for the holder of their key."""

from __future__ import annotations

from strongroom.errors import Exit, Fault
from strongroom.pipeline.errors import ProcessError


class KeyHolderError(ProcessError):
    """Branch: opening a run's outputs for the holder of their key."""

    fault = Fault.INPUT
    exit_code = Exit.BAD_INPUT


class AdapterMissing(KeyHolderError):
    """The log knows no checkpoint of this step, or the bucket lost it."""

    code = "SR-EXPORT-001"
    title = "the run has no adapter of this step"
    remedy = "Name a step with a checkpoint, or none for the published one: `strongroom export RUN`"


class DestinationTaken(KeyHolderError):
    """There is something where the export would go."""

    code = "SR-EXPORT-002"
    title = "the destination is not an empty folder"
    remedy = "Name a folder that does not exist yet, or an empty one; nothing is overwritten."


class ExportNotWritten(KeyHolderError):
    """The file system refused a part of the export; nothing of it was kept."""

    code = "SR-EXPORT-003"
    title = "the export could not be written"
    fault = Fault.PLATFORM
    exit_code = Exit.FAILED
    remedy = "Free space or change rights where `--to` points, and export again."


class RolloutsMissing(KeyHolderError):
    """There is no checkpoint of this step, so no rollouts either."""

    code = "SR-VIEW-001"
    title = "the run has no rollouts of this step"
    remedy = "Name a step with a checkpoint, or none for the last: `strongroom rollouts RUN`."


class OutputIsFile(KeyHolderError):
    """Standard output is a regular file, to which a viewer cannot write."""

    code = "SR-VIEW-002"
    title = "rollouts are shown and not stored"
    remedy = (
        "The viewer may write no file. Show them on a terminal, or decide to keep plaintext: "
        "`strongroom rollouts RUN | cat > FILE`."
    )
