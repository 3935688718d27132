"""Rows of ``reasoning-gym``, as ``examples.generated`` runs it: in a process of its own."""

from __future__ import annotations

import json
import sys


def main(task: str, settings: str) -> None:
    """Print the entries of ``task`` as JSON."""
    import reasoning_gym

    json.dump(list(reasoning_gym.create_dataset(task, seed=7, **json.loads(settings))), sys.stdout)
