"""Reports of progress, as many as the gate lets pass, whatever the numbers are."""

from __future__ import annotations

from collections.abc import Iterator

from strongroom.enclave.channel import capacity, frames


class Progress:
    """Reports one activity on ``total`` units, at most ``limit`` times.

    A report is due whenever another ``limit``-th of the units is done, so that the reports are
    spread over the activity and its end is among them.
    """

    def __init__(
        self, activity: frames.Activity, total: int, limit: int = capacity.PROGRESS_LIMIT
    ) -> None:
        self._activity = activity
        self._total = total
        self._limit = limit
        self._reported = 0

    def after(self, done: int) -> Iterator[frames.Progress]:
        """The report that is due after ``done`` units, if one is."""
        part = done * self._limit // self._total
        if part > self._reported:
            self._reported = part
            yield frames.Progress(activity=self._activity, done=done, total=self._total)
