"""The branch of errors that the product's own processes raise."""

from __future__ import annotations

from strongroom.errors import Fault, StrongroomError


class ProcessError(StrongroomError):
    """Branch: what the product's own processes refuse or fail at."""

    fault = Fault.PLATFORM
