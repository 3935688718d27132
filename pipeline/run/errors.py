"""Errors of the processes that make up a run, and of talking to them."""

from __future__ import annotations

from strongroom.errors import Exit, Fault
from strongroom.pipeline.errors import ProcessError


class RunFinished(ProcessError):
    """The run is complete; there is nothing to resume."""

    code = "SR-RUN-204"
    title = "the run is complete already"
    fault = Fault.INPUT
    exit_code = Exit.BAD_INPUT
    remedy = "See `strongroom report RUN`."


class ReplayDiffers(ProcessError):
    """An object of a replay has other bytes than the run's."""

    code = "SR-RUN-214"
    title = "the replay came out differently"
    fault = Fault.INPUT
    exit_code = Exit.INTEGRITY
    remedy = (
        "The published result does not follow from its plan on this machine. Compare processor, "
        "threads and versions with the run's evidence before you conclude anything."
    )


class RunUnfinished(ProcessError):
    """Only a run that has written everything can be replayed."""

    code = "SR-RUN-215"
    title = "the run has not written all of its objects"
    fault = Fault.INPUT
    exit_code = Exit.BAD_INPUT
    remedy = "Finish it with `strongroom resume RUN` first."


class EdgeRefused(ProcessError):
    """Something other than a handle would cross an edge of the Beam graph."""

    code = "SR-PROC-004"
    title = "only handles, digests and counts may cross a stage edge"
    fault = Fault.POLICY
    exit_code = Exit.INTEGRITY
    remedy = "This is a defect in the pipeline's code: keep rows inside the enclave."


class RunCancelled(ProcessError):
    """Its owner stopped the run."""

    code = "SR-RUN-219"
    title = "the run was cancelled"
    fault = Fault.INPUT
    remedy = "Checkpoints and log stay. `strongroom resume RUN` goes on from the last checkpoint."


class TrialTooLarge(ProcessError):
    """More completions than the records of a trial can count."""

    code = "SR-RUN-230"
    title = "a trial of an evaluator has too many completions"
    fault = Fault.INPUT
    exit_code = Exit.BAD_INPUT
    remedy = "Ask for fewer --rows or --samples; their product counts."
