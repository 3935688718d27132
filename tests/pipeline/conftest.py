"""Fixtures of the run file's and the plan's tests."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

from strongroom.pipeline.runfile.load import LoadedRun, load_text


def _sample() -> ModuleType:
    path = Path(__file__).with_name("sample.py")
    spec = importlib.util.spec_from_file_location("run_sample", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["run_sample"] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def sample() -> ModuleType:
    """``sample.py`` beside this file."""
    return _sample()


@pytest.fixture
def stack(sample: ModuleType, tmp_path: Path) -> dict[str, str]:
    """Values of ``${stack.…}``; the bundle is an empty folder."""
    bundle = tmp_path / "bundle"
    bundle.mkdir()
    return dict(sample.stack(bundle))


@pytest.fixture
def example(sample: ModuleType) -> str:
    """The text of ``examples/feedback/run.yaml``."""
    return str(sample.EXAMPLE.read_text())


@pytest.fixture
def load_example(tmp_path: Path, stack: dict[str, str]) -> Callable[..., LoadedRun]:
    """Reads a run file's text as ``run.yaml`` in a folder that has an evaluator."""
    (tmp_path / "evaluator.py").write_text("def evaluate(): ...\n")

    def load(text: str | bytes, **variables: dict[str, str]) -> LoadedRun:
        return load_text(text, tmp_path / "run.yaml", **{"stack": stack, **variables})

    return load
