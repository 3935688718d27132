"""The ``strongroom`` command. Each command is a few lines: read, call, print."""

from __future__ import annotations

import logging

import typer

from strongroom.pipeline.cli import evaluator, export, inspect, launch, policy, runs, setup

app = typer.Typer(
    name="strongroom",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Reinforcement fine-tuning on data that stays sealed in your own bucket.",
)
for part in (setup, runs, inspect, launch, export):
    app.add_typer(part.app)
app.add_typer(evaluator.app, name="evaluator")
app.add_typer(policy.app, name="policy")


def main() -> None:
    """Entry of the console script."""
    # Beam warns about optional cloud libraries that are not installed, and not needed.
    logging.getLogger().setLevel(logging.ERROR)
    app()
