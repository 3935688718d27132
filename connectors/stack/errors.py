"""Errors of the embedded stack."""

from __future__ import annotations

from strongroom.connectors.host.errors import StackError
from strongroom.errors import Exit, Fault


class StackNotFound(StackError):
    code = "SR-STACK-005"
    title = "there is no embedded stack in this folder"
    fault = Fault.INPUT
    exit_code = Exit.BAD_INPUT
    remedy = "Run 'strongroom stack up' first"


class StackStateDamaged(StackError):
    code = "SR-STACK-006"
    title = "the state of the embedded stack is incomplete or was changed"
    remedy = "Restore the folder from a backup, or start a new stack in another state folder"


class StackSetUpFailed(StackError):
    code = "SR-STACK-008"
    title = "the embedded stack runs but could not be set up"
    remedy = "Read the log file named here; if set-up was cut off, start in a new state folder"
