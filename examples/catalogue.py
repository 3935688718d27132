"""The examples by name: ``strongroom quickstart --example NAME``."""

from __future__ import annotations

import difflib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from strongroom.examples.addresses import prepare as addresses
from strongroom.examples.errors import ExampleUnknown
from strongroom.examples.feedback import prepare as feedback
from strongroom.examples.payees import prepare as payees
from strongroom.examples.products import prepare as products
from strongroom.examples.rows import Rows
from strongroom.examples.surnames import prepare as surnames

_ROWS: dict[str, Callable[[Path], Rows]] = {
    "feedback": feedback.rows,
    "addresses": addresses.rows,
    "payees": payees.rows,
    "surnames": surnames.rows,
    "products": products.rows,
}
NAMES = tuple(_ROWS)


@dataclass(frozen=True)
class Example:
    """One example: a folder with a run file and an evaluator, and how its rows are made."""

    name: str
    rows: Callable[[Path], Rows]
    """From the cache folder to the rows; raises errors of ``examples.errors``."""

    @property
    def run_file(self) -> Path:
        """Its run file; the evaluator is in the same folder."""
        return Path(__file__).parent / self.name / "run.yaml"


def find(name: str) -> Example:
    """The example called ``name``. Raises :class:`ExampleUnknown`."""
    if name in _ROWS:
        return Example(name, _ROWS[name])
    close = difflib.get_close_matches(name, NAMES, n=1)
    raise ExampleUnknown(
        place="--example",
        expected=", ".join(NAMES),
        actual=name,
        remedy=f"Did you mean {close[0]}?" if close else "",
    )
