import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

import tiny_model


@pytest.fixture
def tiny():
    """The module that makes the tiny model, its rows and its settings."""
    return tiny_model
