"""One error or several, read alike: the errors, their documents, and the gravest exit code."""

from __future__ import annotations

from strongroom.errors import ErrorDocument, ErrorList, StrongroomError


def errors_of(error: StrongroomError) -> tuple[StrongroomError, ...]:
    """The errors in a list, or the one."""
    return error.errors if isinstance(error, ErrorList) else (error,)


def documents_of(error: StrongroomError) -> tuple[ErrorDocument, ...]:
    """Each error as plain data; ``registry.from_documents`` is the way back."""
    return tuple(each.document() for each in errors_of(error))


def exit_code(error: StrongroomError) -> int:
    """The code of the gravest error: integrity before key, policy, input."""
    return max(item.exit_code for item in errors_of(error))
