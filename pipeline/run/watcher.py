"""What is shown of a run while it goes on."""

from __future__ import annotations

from typing import Protocol


class Watcher(Protocol):
    """Shows a run to a person; see ``pipeline.cli.progress``."""

    def stage(self, name: str) -> None:
        """A stage of the run begins."""
        ...

    def progress(self, activity: str, done: int, total: int) -> None:
        """``done`` of ``total`` units of an activity."""
        ...

    def step(self, step: int, values: dict[str, float]) -> None:
        """A training step ended."""
        ...

    def fact(self, text: str) -> None:
        """Something worth a line."""
        ...

    def alarm(self, text: str) -> None:
        """Something that a person should look at."""
        ...


class Silent:
    """A watcher that shows nothing."""

    def stage(self, name: str) -> None:
        """See ``pipeline.run.watcher.Watcher``."""

    def progress(self, activity: str, done: int, total: int) -> None:
        """See ``pipeline.run.watcher.Watcher``."""

    def step(self, step: int, values: dict[str, float]) -> None:
        """See ``pipeline.run.watcher.Watcher``."""

    def fact(self, text: str) -> None:
        """See ``pipeline.run.watcher.Watcher``."""

    def alarm(self, text: str) -> None:
        """See ``pipeline.run.watcher.Watcher``."""
