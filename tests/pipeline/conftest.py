"""Fixtures of the run file's and the plan's tests."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from strongroom.pipeline.runfile.load import LoadedRun, load_text
from support import sample


@pytest.fixture
def stack(tmp_path: Path) -> dict[str, str]:
    """Values of ``${stack.…}``; the bundle is an empty folder."""
    bundle = tmp_path / "bundle"
    bundle.mkdir()
    return sample.stack(bundle)


@pytest.fixture
def example() -> str:
    """The text of ``examples/feedback/run.yaml``."""
    return sample.EXAMPLE.read_text()


@pytest.fixture
def load_example(tmp_path: Path, stack: dict[str, str]) -> Callable[..., LoadedRun]:
    """Reads a run file's text as ``run.yaml`` in a folder that has an evaluator."""
    (tmp_path / "evaluator.py").write_text("def evaluate(): ...\n")

    def load(text: str | bytes, **variables: dict[str, str]) -> LoadedRun:
        return load_text(text, tmp_path / "run.yaml", **{"stack": stack, **variables})

    return load
