"""The one way to print: text from outside is data, and what programs read stays as it is.

``say`` and ``table`` are for people. Whatever they are given is escaped and means no markup; styles
are the commands' own. On a terminal it is the terminal that wraps lines, and tables fit its width;
elsewhere nothing is wrapped, cut or coloured. ``document`` and ``print_json`` are for programs.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, TextIO

from rich.console import Console
from rich.table import Table as Grid
from rich.text import Text

from strongroom.errors.visible import visible, without_credentials

_ESCAPED = re.compile(
    r"(?P<whole>\\\\|\\ud[89ab][0-9a-f]{2}\\ud[c-f][0-9a-f]{2})|\\ud[89a-f][0-9a-f]{2}"
)
"""Backslashes and surrogates in JSON: whole, or half a pair."""
_WITHOUT_END = 1 << 20
"""Columns of what is no terminal."""


class Styled(NamedTuple):
    """Text with a style of rich's."""

    text: str
    style: str


Part = str | Styled


class Table:
    """Rows of cells under a title; a cell is some text, or a list of lines."""

    def __init__(self, title: str, *columns: str, right: Sequence[str] = ()) -> None:
        self.title = title
        self.columns = columns
        self.right = right
        self.rows: list[tuple[Part | list[str], ...]] = []

    def row(self, *cells: Part | list[str]) -> None:
        """Add one row."""
        self.rows.append(cells)


class Output:
    """One of the standard streams, for people."""

    def __init__(self, stream: Callable[[], TextIO]) -> None:
        self._stream = stream
        self._console: Console | None = None

    @property
    def is_terminal(self) -> bool:
        """Whether a person looks at it."""
        return self._stream().isatty()

    @property
    def is_unicode(self) -> bool:
        """Whether its encoding has every character."""
        return self._stream().encoding.lower().startswith("utf")

    @property
    def descriptor(self) -> int:
        """For a process of its own that writes there, as the viewer of rollouts does."""
        return self._stream().fileno()

    def console(self) -> Console:
        """For ``progress`` alone, whose bars move; the same one for as long as the stream is."""
        stream, terminal = self._stream(), self.is_terminal
        if self._console is None or self._console.file is not stream:
            self._console = Console(
                file=stream,
                force_terminal=terminal,  # no FORCE_COLOR for what a program reads
                width=None if terminal else _WITHOUT_END,
                highlight=False,
                markup=False,
                emoji=False,
            )
        return self._console

    def say(self, *parts: Part) -> None:
        """Print one line."""
        self.console().print(text(*parts), soft_wrap=True)

    def table(self, table: Table) -> None:
        """Print a table."""
        if table.title:
            self.say(Styled(table.title, "bold"))
        grid = Grid(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="dim")
        grid.show_header = bool(table.columns)
        for name in table.columns or [""] * max(map(len, table.rows), default=0):
            grid.add_column(
                text(name), justify="right" if name in table.right else "left", overflow="fold"
            )
        for row in table.rows:
            grid.add_row(*map(_cell, row))
        self.console().print(grid)


out = Output(lambda: sys.stdout)
err = Output(lambda: sys.stderr)


def text(*parts: Part) -> Text:
    """One line for rich, in which nothing from outside does anything."""
    line = Text()
    for part in parts:
        said, style = part if isinstance(part, Styled) else (part, "")
        line.append(visible(without_credentials(said)), style)
    return line


def _cell(cell: Part | list[str]) -> Text:
    return Text("\n").join(map(text, cell)) if isinstance(cell, list) else text(cell)


def document(made: str) -> None:
    """Print what a program reads, to the byte; it is ASCII, so that any encoding has it."""
    sys.stdout.write(made)
    sys.stdout.flush()


def octets(made: bytes) -> None:
    """Print bytes that a program reads or a file keeps, such as a signed note."""
    sys.stdout.flush()
    sys.stdout.buffer.write(made)
    sys.stdout.flush()


def print_json(data: Any) -> None:
    """One JSON document on one line of standard output, all of it visible ASCII."""
    document(json_text(data, separators=(",", ":")) + "\n")


def json_text(data: Any, **form: Any) -> str:
    """JSON in visible ASCII; ``form`` is that of ``json.dumps``.

    Half a surrogate pair, as a file's name that is no text has it, becomes U+FFFD: few readers of
    JSON take it.
    """
    made = json.dumps(data, **form).replace("\x7f", r"\u007f")
    return _ESCAPED.sub(lambda found: found["whole"] or r"\ufffd", made)
