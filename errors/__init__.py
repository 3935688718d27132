"""The root of every error that Strongroom shows to a person.

An error is a document, not a sentence: it has a stable code, says whose fault it is, where it
happened, what was expected, what was found, and what to do. Packages derive one branch each
(``CryptoError``, ``AccessError`` …) and one class per code, so that the error reference in
``docs/reference/errors.md`` is generated from the classes themselves.

Invariants: errors pickle (they cross processes), and no field ever holds a secret or row content;
callers put names, sizes, digests and positions there, nothing else. What is found is often an
address, so addresses lose their credentials here. Texts are data from outside: whoever shows one to
a person escapes it (``errors.visible``).
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from typing import Any, ClassVar

import msgspec

from strongroom.errors.visible import without_credentials


class Fault(StrEnum):
    """Whose move it is to fix the error."""

    INPUT = "input"
    ACCESS = "access"
    POLICY = "policy"
    PLATFORM = "platform"


class Exit:
    """Exit codes of the ``strongroom`` command."""

    OK = 0
    FAILED = 1
    BAD_INPUT = 2
    DENIED = 3
    KEY_REFUSED = 4
    INTEGRITY = 5


class ErrorDocument(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """An error as plain data: what ``--json`` prints and what crosses between processes."""

    code: str
    title: str = ""
    fault: Fault = Fault.PLATFORM
    place: str = ""
    expected: str = ""
    actual: str = ""
    remedy: str = ""


class StrongroomError(Exception):
    """One error with code, fault, place, expected, actual and remedy.

    Subclasses set the class attributes; instances say where and what. A subclass without a
    ``code`` is a branch (one per package) and is never raised.
    """

    code: ClassVar[str] = ""
    title: ClassVar[str] = ""
    fault: ClassVar[Fault] = Fault.PLATFORM
    exit_code: ClassVar[int] = Exit.FAILED
    remedy: ClassVar[str] = ""

    def __init__(
        self,
        *,
        place: str = "",
        expected: str = "",
        actual: str = "",
        remedy: str = "",
    ) -> None:
        self.place = without_credentials(place)
        self.expected = without_credentials(expected)
        self.actual = without_credentials(actual)
        self.fix = without_credentials(remedy or self.remedy)
        super().__init__(str(self))

    def __str__(self) -> str:
        head = f"{self.place}: " if self.place else ""
        text = f"{head}{self.code}: {self.title}"
        if self.expected:
            text += f"; expected {self.expected}"
        if self.actual:
            text += f"; found {self.actual}"
        if self.fix:
            text += f". {self.fix}"
        return text

    def __reduce__(self) -> tuple[Any, ...]:
        return (_rebuild, (type(self), self.place, self.expected, self.actual, self.fix))

    def document(self) -> ErrorDocument:
        """The error as plain data."""
        return ErrorDocument(
            code=self.code,
            title=self.title,
            fault=self.fault,
            place=self.place,
            expected=self.expected,
            actual=self.actual,
            remedy=self.fix,
        )


def _rebuild(
    cls: type[StrongroomError], place: str, expected: str, actual: str, fix: str
) -> StrongroomError:
    return cls(place=place, expected=expected, actual=actual, remedy=fix)


class ErrorList(StrongroomError):
    """Several errors found together, reported together, in the order of their places.

    A list in a list is taken apart, so that each error keeps its own place and exit code.
    """

    code = "SR-MANY"
    title = "several errors"
    fault = Fault.INPUT
    exit_code = Exit.BAD_INPUT

    def __init__(self, errors: Sequence[StrongroomError]) -> None:
        self.errors: tuple[StrongroomError, ...] = tuple(
            each
            for error in errors
            for each in (error.errors if isinstance(error, ErrorList) else (error,))
        )
        super().__init__()

    def __str__(self) -> str:
        return "\n".join(str(error) for error in self.errors)

    def __reduce__(self) -> tuple[Any, ...]:
        return (ErrorList, (self.errors,))
