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

MODULES = HERE.parent / "modules"

AWS_EXAMPLE: dict[str, Any] = {
    "account_id": "111122223333",
    "region": "us-east-1",
    "name": "strongroom",
    "data_bucket": "acme-data",
    "audit_bucket": "acme-audit",
    "log_bucket": "acme-data-logs",
    "input_prefixes": [
        "datasets/feedback/held-out/",
        "datasets/feedback/train/",
        "models/smollm2-135m-instruct/",
    ],
    "outputs_prefix": "runs/",
    "audit_prefix": "strongroom/",
    "owner_prefixes": ["datasets/", "evaluators/", "models/"],
    "issuer_url": "https://bao.acme.example/v1/identity/oidc",
    "oidc_provider_arn": "arn:aws:iam::111122223333:oidc-provider/bao.acme.example/v1/identity/oidc",
    "audience": "strongroom",
    "broker_subject": "entity-of-the-broker",
    "key_arns": {
        "data": "arn:aws:kms:us-east-1:111122223333:key/data",
        "audit": "arn:aws:kms:us-east-1:111122223333:key/audit",
    },
}
"""The inputs of modules/aws/examples/basic, and what AWS would add to them."""


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
