"""Every error class of every package, imported by name."""

from __future__ import annotations

import importlib
from pathlib import Path

import strongroom


def import_errors() -> None:
    """Import every ``errors`` module, so that any error can be rebuilt from its document.

    Only those modules and the packages that they lie in: no torch, no network client.
    """
    root = Path(strongroom.__file__).parent
    for package in sorted(root.iterdir()):  # links in a checkout, which rglob would not enter
        for file in sorted(package.rglob("errors.py")):
            importlib.import_module(
                ".".join(("strongroom", *file.relative_to(root).parent.parts, "errors"))
            )
