"""Errors of what may enter the log."""

from __future__ import annotations

from strongroom.audit.errors import AuditError
from strongroom.errors import Exit


class EventMalformed(AuditError):
    code = "SR-AUDIT-017"
    title = "a log entry is not an event that this version knows"
    exit_code = Exit.INTEGRITY
    remedy = "Verify with the version that wrote the log; if it is the same, the entry is forged."


class EventInvalid(AuditError):
    code = "SR-AUDIT-018"
    title = "an event has a field that may not be logged"
    remedy = "Only numbers, digests, ids, codes, times and object addresses may enter the log."
