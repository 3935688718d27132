"""The ``strongroom`` command: finds the row that is called in ``table`` and loads its module."""

from __future__ import annotations

import importlib
import logging
from collections.abc import Mapping
from typing import Annotated, Any

import typer
from typer.core import TyperCommand, TyperGroup

import strongroom
from strongroom.pipeline.cli.table import COMMANDS, Command, Group


class Unloaded(TyperCommand):
    """A command of which only its row is known."""

    def __init__(self, name: str, row: Command) -> None:
        super().__init__(name, help=row.summary, hidden=row.hidden)
        self._row = row

    def load(self) -> Any:
        """The command itself, with its options and its whole help."""
        module = importlib.import_module(f"strongroom.pipeline.cli.{self._row.module}")
        alone = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
        alone.command(self.name)(getattr(module, self._row.function))
        return typer.main.get_command(alone)


class LazyGroup(TyperGroup):
    """A group that loads no command but the one that is called."""

    rows: Mapping[str, Command | Group] = COMMANDS

    def __init__(self, **attributes: Any) -> None:
        super().__init__(**attributes)
        for name, row in self.rows.items():
            self.commands[name] = _entry(name, row)

    def resolve_command(self, ctx: Any, args: list[str]) -> tuple[Any, Any, list[str]]:
        """Which command the arguments name."""
        name, command, rest = super().resolve_command(ctx, args)
        return name, command.load() if isinstance(command, Unloaded) else command, rest


def _entry(name: str, row: Command | Group) -> TyperCommand | TyperGroup:
    if isinstance(row, Command):
        return Unloaded(name, row)
    kind = type(name, (LazyGroup,), {"rows": row.commands})
    made: TyperGroup = kind(name=name, help=row.summary, no_args_is_help=True)
    return made


app = typer.Typer(
    cls=LazyGroup,
    name="strongroom",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Reinforcement fine-tuning on data that stays sealed in your own bucket.",
)


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(strongroom.__version__)
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool,
        typer.Option(
            "--version", is_eager=True, callback=_show_version, help="Show the version and exit."
        ),
    ] = False,
) -> None:
    pass


def main() -> None:
    """Entry of the console script."""
    # Beam warns about optional cloud libraries that are not installed, and not needed.
    logging.getLogger().setLevel(logging.ERROR)
    app()
