"""``strongroom init``: a commented run file and an evaluator to start from."""

from __future__ import annotations

from pathlib import Path

import strongroom.examples.feedback
from strongroom.pipeline.embedded.errors import ScaffoldExists

FILES = ("run.yaml", "evaluator.py")


def write_first_run(folder: Path) -> list[Path]:
    """Copy the example's run file and evaluator into ``folder``; never overwrites.

    Raises ``ScaffoldExists``.
    """
    source = Path(next(iter(strongroom.examples.feedback.__path__)))
    targets = [folder / name for name in FILES]
    for target in targets:
        if target.exists():
            raise ScaffoldExists(place=str(target))
    folder.mkdir(parents=True, exist_ok=True)
    for target in targets:
        target.write_bytes((source / target.name).read_bytes())
    return targets
