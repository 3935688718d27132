"""Several errors as one: flattened, and the gravest exit code."""

from __future__ import annotations

from strongroom.errors import ErrorList, StrongroomError


def errors_of(error: StrongroomError) -> tuple[StrongroomError, ...]:
    """The errors in a list, or the one."""
    return error.errors if isinstance(error, ErrorList) else (error,)


def exit_code(error: StrongroomError) -> int:
    """The code of the gravest error: integrity before key, policy, input."""
    return max(item.exit_code for item in errors_of(error))
