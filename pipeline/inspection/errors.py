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
