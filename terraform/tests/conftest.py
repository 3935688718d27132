"""Fixtures of the modules' tests. They need nothing of Strongroom but this folder's files."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))

import terraform_cli  # noqa: E402
from examples_values import AWS_EXAMPLE, MODULES  # noqa: E402


@pytest.fixture(scope="session")
def planned() -> dict[str, Any]:
    """What `strongroom plan` lists for a run of examples/feedback/run.yaml."""
    return dict(json.loads((HERE / "planned_run.json").read_text()))


@pytest.fixture(scope="session")
def aws(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The outputs of modules/aws/policies for the example; policies as documents."""
    data = tmp_path_factory.mktemp("aws-policies")
    return documents(terraform_cli.outputs(MODULES / "aws" / "policies", data, AWS_EXAMPLE))


def documents(made: dict[str, Any]) -> dict[str, Any]:
    """Outputs with every policy's JSON read."""
    return {
        name: {key: json.loads(text) for key, text in value.items()}
        if name.endswith("_policies")
        else value
        for name, value in made.items()
    }
