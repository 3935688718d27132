"""The branch of every error of the audit log, its events and its report: codes ``SR-AUDIT-NNN``.

Integrity errors name the one object that is wrong; none holds the content of an entry.
"""

from __future__ import annotations

from strongroom.errors import StrongroomError


class AuditError(StrongroomError):
    """Branch of every error raised by ``audit``."""
