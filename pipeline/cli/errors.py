"""Errors of the command line itself."""

from __future__ import annotations

from strongroom.errors import Exit, Fault
from strongroom.pipeline.errors import ProcessError


class Interrupted(ProcessError):
    """Somebody pressed Ctrl-C, or sent SIGTERM to a run's controller."""

    code = "SR-PROC-007"
    title = "interrupted"
    fault = Fault.INPUT
    remedy = "Nothing is lost: continue a run with `strongroom resume RUN`."


class CommandMisused(ProcessError):
    """An unknown command or option, a missing argument, a value that an option does not take."""

    code = "SR-INPUT-009"
    title = "a command cannot be called like this"
    fault = Fault.INPUT
    exit_code = Exit.BAD_INPUT
    remedy = "Ask the command with --help."
