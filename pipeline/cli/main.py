"""The ``strongroom`` command: finds the row that is called in ``table`` and loads its module."""

from __future__ import annotations

import importlib
import os
import re
import sys
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, NoReturn

import typer
from typer.core import TyperCommand, TyperGroup

import strongroom
from strongroom.pipeline.cli.console import out
from strongroom.pipeline.cli.errors import CommandMisused
from strongroom.pipeline.cli.reporting import begin, reporting
from strongroom.pipeline.cli.table import COMMANDS, Command, Group

NAME = "strongroom"


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

    def main(self, args: Sequence[str] | None = None, *_: Any, **__: Any) -> NoReturn:
        """Run the command that ``args`` name, and end as it does."""
        words = list(sys.argv[1:] if args is None else args)
        with reporting("--json" in words):
            try:
                code = super().main(words, NAME, standalone_mode=False)
            except typer.TyperException as error:
                raise misused(error) from None
            if code:
                raise SystemExit(code)
        raise SystemExit(0)

    def resolve_command(self, ctx: Any, args: list[str]) -> tuple[Any, Any, list[str]]:
        """Which command the arguments name."""
        name, command, rest = super().resolve_command(ctx, args)
        return name, command.load() if isinstance(command, Unloaded) else command, rest


def misused(error: typer.TyperException) -> BaseException:
    """What typer says of arguments, as an error of ours; the end, where it has shown the help."""
    said, context = error.format_message(), getattr(error, "ctx", None)
    if not said:
        return SystemExit(error.exit_code)
    if context is None:
        return CommandMisused(place=NAME, actual=said)
    usage = " ".join((context.command_path, *context.command.collect_usage_pieces(context)))
    return CommandMisused(place=context.command_path, expected=usage, actual=said)


def _entry(name: str, row: Command | Group) -> TyperCommand | TyperGroup:
    if isinstance(row, Command):
        return Unloaded(name, row)
    kind = type(name, (LazyGroup,), {"rows": row.commands})
    made: TyperGroup = kind(name=name, help=row.summary, no_args_is_help=True)
    return made


app = typer.Typer(
    cls=LazyGroup,
    name=NAME,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Reinforcement fine-tuning on data that stays sealed in your own bucket.",
)


def _show_version(wanted: bool) -> None:
    if wanted:
        out.say(strongroom.__version__)
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


_STEER_CLIENTS = re.compile(
    r".*_proxy|(ssl_cert|requests_ca|curl_ca|openssl|gconv|google|cloudsdk|storage_emulator)_?.*",
    re.IGNORECASE,
)


def _forget_clients_settings() -> None:
    """No proxy, no authority, no credential of another tool: what steers a client is in the run
    file. Some clients read the environment whatever they are told."""
    for name in filter(_STEER_CLIENTS.fullmatch, list(os.environ)):
        del os.environ[name]


def main() -> None:
    """Entry of the console script."""
    _forget_clients_settings()
    begin()
    app()
