"""Every error class of every package, by code, and errors rebuilt from their documents."""

from __future__ import annotations

import functools
import importlib
from collections.abc import Iterable
from pathlib import Path

import strongroom
from strongroom.errors import ErrorDocument, ErrorList, StrongroomError
from strongroom.errors.defect import CodeUnknown


def all_codes() -> dict[str, type[StrongroomError]]:
    """Every error class by code, in the order of the codes.

    A process imports only what its role needs, but any error may reach it: so the ``errors`` module
    of every package is imported first.
    """
    _import_errors()
    found: dict[str, type[StrongroomError]] = {}
    queue = list(StrongroomError.__subclasses__())
    while queue:
        cls = queue.pop()
        queue.extend(cls.__subclasses__())
        if not cls.code:
            continue
        if found.setdefault(cls.code, cls) is not cls:
            raise TypeError(f"error code {cls.code} is used by two classes")
    return dict(sorted(found.items()))


def from_documents(documents: Iterable[ErrorDocument]) -> StrongroomError:
    """The error that crossed a process boundary as plain data; an ``ErrorList`` if there are more.

    A code that this version does not know becomes ``CodeUnknown``.
    """
    found = [_from_document(document) for document in documents]
    return found[0] if len(found) == 1 else ErrorList(found)


def _from_document(document: ErrorDocument) -> StrongroomError:
    cls = all_codes().get(document.code, ErrorList)
    if issubclass(cls, ErrorList):  # which has no document of its own
        said = " ".join(filter(None, (document.code, document.title, document.actual)))
        return CodeUnknown(place=document.place, actual=said)
    return cls(
        place=document.place,
        expected=document.expected,
        actual=document.actual,
        remedy=document.remedy,
    )


@functools.cache
def _import_errors() -> None:
    """Only those modules and the packages that they lie in: no torch, no network client."""
    root = Path(strongroom.__file__).parent
    for package in sorted(root.iterdir()):  # links in a checkout, which rglob would not enter
        for file in sorted(package.rglob("errors.py")):
            importlib.import_module(
                ".".join(("strongroom", *file.relative_to(root).parent.parts, "errors"))
            )
