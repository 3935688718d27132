"""How a run looks on a terminal: a line per stage, a bar for what takes long.

On a terminal the bars move; elsewhere each stage is one plain line. Only counts, names and rounded
numbers come here.
"""

from __future__ import annotations

import time
from types import TracebackType

from rich.progress import (
    BarColumn,
    Progress,
    SpinnerColumn,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from strongroom.errors.visible import visible
from strongroom.pipeline.cli.console import Output, Styled

STAGES = {
    "stack": "Start the embedded stack: S3 server, key service, releaser",
    "model": "Prepare the base model",
    "rows": "Prepare the rows",
    "upload": "Put the base model into the bucket",
    "seal": "Seal the datasets",
    "seal_rows": "Seal the rows",
    "plan": "Collect facts and plan",
    "admit": "Ask the policy",
    "enclave": "Start the enclave",
    "release": "Release the keys to it",
    "trial": "Sample completions of the base model and score them",
    "open": "Open the datasets",
    "verify": "Verify every segment and record",
    "evaluate_before": "Score the held-out rows before training",
    "train": "Train",
    "evaluate": "Score the held-out rows after training",
    "publish": "Publish the result",
    "verify_run": "Verify everything again, from the bucket",
    "report": "Write the report",
    "export": "Open the adapter and write it",
}


class Terminal:
    """A watcher for people."""

    def __init__(self, output: Output, steps: int = 0) -> None:
        self._output = output
        self._steps = steps
        self._started = time.monotonic()
        self._task: TaskID | None = None
        self._name = ""
        self._facts: list[str] = []
        self._bars = Progress(
            SpinnerColumn("line"),  # in ASCII, which every terminal has
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=24),
            TextColumn("{task.fields[count]}", markup=False),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[note]}", style="dim", markup=False),
            console=output.console(),
            transient=True,
            redirect_stdout=False,  # what is said goes to this very console
            redirect_stderr=False,
            disable=not output.is_terminal,
        )

    def __enter__(self) -> Terminal:
        self._bars.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._finish(failed=kind is not None)
        self._bars.stop()

    def stage(self, name: str) -> None:
        """Close the line of the stage before, open this one's."""
        self._finish(failed=False)
        self._name = STAGES.get(name, name)
        self._started = time.monotonic()
        total = self._steps if name == "train" and self._steps else None
        self._task = self._bars.add_task(visible(self._name), total=total, note="", count="")

    def progress(self, activity: str, done: int, total: int) -> None:
        """Move the current bar; where nobody knows the ``total``, it is 0, only count."""
        if self._task is not None:
            count = f"{done}/{total}" if total else str(done)
            self._bars.update(self._task, completed=done, total=total or None, count=count)

    def step(self, step: int, values: dict[str, float]) -> None:
        """Move the training bar and show the reward."""
        if self._task is not None:
            note = f"reward {values.get('reward_mean', 0.0):.2f}"
            count = f"{step}/{self._steps}" if self._steps else str(step)
            self._bars.update(self._task, completed=step, note=note, count=count)

    def fact(self, text: str) -> None:
        """A note at the end of the current stage's line."""
        self._facts.append(text)

    def alarm(self, text: str) -> None:
        """A line of its own at once, above the bars."""
        self._output.say(Styled(f"! {text}", "yellow"))

    def _finish(self, *, failed: bool) -> None:
        if self._task is None:
            return
        self._bars.remove_task(self._task)
        self._task = None
        seconds = time.monotonic() - self._started
        mark = Styled("✗", "red") if failed else Styled("✓", "green")
        notes = f"  {' · '.join(self._facts)}" if self._facts else ""
        self._facts.clear()
        self._output.say(mark, f" {self._name:<58} {seconds:6.1f} s", Styled(notes, "dim"))
