"""Checking a log: everything is recomputed, and every object that is wrong is named.

``read_log`` raises at the first thing that is wrong and otherwise returns the entries;
``check_log`` makes the same checks and reports all of them. ``audit.log.reader`` says how.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from strongroom.audit.log.reader import Finding, LogView, Reading
from strongroom.audit.log.store import LogStore
from strongroom.errors import StrongroomError

__all__ = ["COMPLETE", "Check", "LogView", "check_log", "read_log"]

COMPLETE = "The run is complete"
"""Name of the one check that fails for a run that is intact as far as it came."""


@dataclass(frozen=True)
class Check:
    """One thing that was checked: what, whether it held, on which object, and why not."""

    name: str
    ok: bool
    object: str
    detail: str = ""


def read_log(
    store: LogStore, vkey: str, origin: str, *, keys: Iterable[str] | None = None
) -> LogView:
    """Check a log completely and return it; raises at the first thing that is wrong.

    ``keys`` lists what is stored under the log's prefix, if the caller can list it: then an
    object that no log writes is an error too. Raises ``LogNotFound``, ``LogUnreadable`` and the
    integrity errors of ``audit.log.errors``, each naming its object.
    """
    reading = Reading(store, vkey, origin, keys)
    for finding in reading.run():
        if finding.error is not None:
            raise finding.error
    return reading.view()


def check_log(
    store: LogStore, vkey: str, origin: str, *, keys: Iterable[str] | None = None
) -> list[Check]:
    """The same checks as rows; never stops at the first failure, and names every bad object."""
    rows: list[Check] = []
    try:
        for finding in Reading(store, vkey, origin, keys).run():
            rows.append(_row(finding))
    except StrongroomError as error:
        rows.append(_row(Finding("log", error.place, error)))
    return rows


def _row(finding: Finding) -> Check:
    error = finding.error
    if error is None:
        return Check(finding.name, True, finding.place, finding.detail)
    detail = f"{error.code}: {error.title}"
    if error.expected:
        detail += f"; expected {error.expected}"
    if error.actual:
        detail += f"; found {error.actual}"
    return Check(finding.name, False, finding.place, detail)
