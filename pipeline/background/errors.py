"""Errors of runs that go on without a terminal."""

from __future__ import annotations

from strongroom.errors import Exit, Fault
from strongroom.pipeline.errors import ProcessError


class RunFileOutdated(ProcessError):
    """The kept copy of a run's file is not valid for this version."""

    code = "SR-RUN-212"
    title = "the run was started by a version with another run file form"
    fault = Fault.INPUT
    exit_code = Exit.BAD_INPUT
    remedy = "Use the version that started the run; its objects and log are untouched."


class RunBusy(ProcessError):
    """Two controllers of one run would write the same objects and the same log entries."""

    code = "SR-RUN-216"
    title = "another process on this machine drives the run"
    fault = Fault.INPUT
    exit_code = Exit.BAD_INPUT
    remedy = "Follow it with `strongroom wait RUN`, or end it with `strongroom cancel RUN`."


class RunEnded(ProcessError):
    """There is nothing to cancel."""

    code = "SR-RUN-217"
    title = "the run has ended already"
    fault = Fault.INPUT
    exit_code = Exit.BAD_INPUT
    remedy = "See `strongroom status RUN`."


class RunInterrupted(ProcessError):
    """Nobody on this machine drives the run, and it has not ended."""

    code = "SR-RUN-218"
    title = "the run was interrupted"
    remedy = "Nothing is lost: continue with `strongroom resume RUN`."


class RunGoesOn(ProcessError):
    """The time to wait is up."""

    code = "SR-RUN-220"
    title = "the run has not ended yet"
    fault = Fault.INPUT
    remedy = "Wait longer with `strongroom wait RUN`; nothing was stopped."


class SupervisorLost(ProcessError):
    """The supervisor of a detached run ended before it began."""

    code = "SR-RUN-221"
    title = "the supervisor did not start"
    remedy = "Read the log file named here, or run without --detach."
