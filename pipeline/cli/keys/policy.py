"""Commands for the owner of a policy: writing a bundle, and showing one."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer

from strongroom.pipeline.cli.console import out, print_json
from strongroom.pipeline.cli.reporting import reporting
from strongroom.policies.bundle import (
    Bundle,
    read_bundle,
    read_settings,
    shipped_digest,
    write_bundle,
)

Folder = Annotated[Path, typer.Argument(help="The bundle's folder.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]


def write(
    folder: Folder,
    settings: Annotated[Path, typer.Option(help="JSON file with the owner's settings.")],
    as_json: Json = False,
) -> None:
    """Write a bundle: the rules of this version with the owner's settings."""
    with reporting(as_json):
        _show(folder, write_bundle(folder, read_settings(settings)), as_json)


def show(folder: Folder, as_json: Json = False) -> None:
    """Show a bundle: its digest, rules and settings."""
    with reporting(as_json):
        _show(folder, read_bundle(folder), as_json)


def _show(folder: Path, bundle: Bundle, as_json: bool) -> None:
    settings: dict[str, Any] = msgspec.to_builtins(bundle.settings)
    current = bundle.digest == shipped_digest(bundle.settings)
    if as_json:
        print_json(
            {
                "folder": str(folder),
                "digest": bundle.digest,
                "rules": list(bundle.rule_ids),
                "settings": settings,
                "current": current,
            }
        )
        return
    whose = "this version's" if current else "another version's, or the owner's own"
    out.say(f"policy {bundle.digest}")
    out.say(f"{len(bundle.rules)} rules in {folder}, {whose}")
    for name, value in settings.items():
        shown = ", ".join(value) or "-" if isinstance(value, tuple) else value
        out.say(f"  {name:<18} {shown}")
