"""Errors of looking at a run afterwards."""

from __future__ import annotations

from strongroom.errors import Exit, Fault
from strongroom.pipeline.errors import ProcessError


class VerificationFailed(ProcessError):
    """A run's objects and log do not agree."""

    code = "SR-RUN-210"
    title = "the run does not verify"
    fault = Fault.PLATFORM
    exit_code = Exit.INTEGRITY
    remedy = "`strongroom verify RUN` names each object that is wrong."


class CheckpointUnknown(ProcessError):
    """The run has no such checkpoint."""

    code = "SR-RUN-209"
    title = "the run has no such checkpoint"
    fault = Fault.INPUT
    exit_code = Exit.BAD_INPUT
    remedy = (
        "`strongroom plan` lists the steps that have one; `strongroom status` says how far it is."
    )


class CopyIncomplete(ProcessError):
    """A folder holds no copy of the log that its key names."""

    code = "SR-RUN-224"
    title = "the folder holds no copy of this log"
    fault = Fault.INPUT
    exit_code = Exit.BAD_INPUT
    remedy = (
        "Copy each bucket to a folder of its name, as `aws s3 sync s3://BUCKET FOLDER/BUCKET` or "
        "`strongroom log copy` does, and name the folder above them."
    )


class ReaderFileUnreadable(ProcessError):
    """A file that whoever verifies brings cannot be read."""

    code = "SR-RUN-225"
    title = "the file cannot be read"
    fault = Fault.INPUT
    exit_code = Exit.BAD_INPUT
    remedy = "Name a file with a verifier key in one line, or a checkpoint as the log has it."


class AddressNotOfRun(ProcessError):
    """An address is not that of a run's folder."""

    code = "SR-RUN-226"
    title = "this is not the address of a run"
    fault = Fault.INPUT
    exit_code = Exit.BAD_INPUT
    remedy = "A run's address is its outputs prefix and its id, such as s3://bucket/runs/ID/."


class CopyTaken(ProcessError):
    """A copy goes into a folder of its own."""

    code = "SR-RUN-227"
    title = "there is something in this folder"
    fault = Fault.INPUT
    exit_code = Exit.BAD_INPUT
    remedy = "Name a new folder; nothing is overwritten."
