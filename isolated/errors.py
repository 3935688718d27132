"""Errors of processes of ours that may run nothing but the measured set (SR-CODE)."""

from __future__ import annotations

from strongroom.errors import Exit, Fault, StrongroomError


class CodeError(StrongroomError):
    """Branch: what would have run in a process of ours."""

    fault = Fault.PLATFORM
    exit_code = Exit.FAILED


class ByteCodeHomeless(CodeError):
    code = "SR-CODE-002"
    title = "there is no place to keep the byte code of an enclave's libraries"
    remedy = (
        "Run `strongroom releaser measure` once as the user who owns the Python environment, or "
        "make the folder writable."
    )


class CodeRefused(CodeError):
    code = "SR-CODE-001"
    title = "a process of ours met code that is not in the measured set, and ended before it ran"
    exit_code = Exit.INTEGRITY
    remedy = (
        "Install the package again that the file belongs to, or remove the file; approve the new "
        "measurement (`strongroom releaser measure`) if it is meant to be there."
    )
