"""What the modules output, put into the files that README says, is read by the product."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest
import terraform_cli
from examples_values import AWS_EXAMPLE, GCP_EXAMPLE, MODULES, VAULT_EXAMPLE


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """`spec.keys` from modules/vault/policies; the releaser is added by hand."""
    data = tmp_path_factory.mktemp("vault-policies")
    made = terraform_cli.outputs(MODULES / "vault" / "policies", data, VAULT_EXAMPLE)
    return {**made["keys"]["feedback/feedback-outputs"], "releaser": "unix:///run/releaser.sock"}


@pytest.fixture(scope="module")
def gcp(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    data = tmp_path_factory.mktemp("gcp-policies")
    return terraform_cli.outputs(MODULES / "gcp" / "policies", data, GCP_EXAMPLE)


def run_file(folder: Path, made: dict[str, Any], keys: dict[str, str], **more: Any) -> Path:
    """A run file with the outputs ``uris`` and ``access`` of a cloud's module. JSON is YAML."""
    bucket = made["access"][0]["uri"]
    spec = {
        "data": {name: f"{bucket}datasets/feedback/{name}/" for name in ("train", "held_out")},
        "model": {"base": f"{bucket}models/base/", "digest": "sha256:" + 64 * "0"},
        "evaluator": {"source": "evaluator.py", "metrics": []},
        "training": {
            "steps": 2,
            "prompts_per_step": 4,
            "samples_per_prompt": 4,
            "learning_rate": 1e-4,
        },
        **made["uris"],
        "access": made["access"],
        "identity": {
            "type": "openbao",
            "addr": "https://bao.acme.example:8200",
            "credentials": "/etc/strongroom/broker.json",
            "oidc_role": VAULT_EXAMPLE["broker_oidc_role"],
        },
        "keys": keys,
        "policy": {"bundle": "policy"},
    }
    (folder / "policy").mkdir()
    (folder / "evaluator.py").write_text("def evaluate(messages, ground_truth, **row):\n    ...\n")
    path = folder / "run.yaml"
    document = {"apiVersion": "strongroom/v1", "kind": "TrainingRun", "metadata": {"name": "a"}}
    path.write_text(json.dumps({**document, "spec": {**spec, **more}}, indent=2))
    return path


def validated(path: Path) -> tuple[int, dict[str, Any]]:
    command = [os.environ["STRONGROOM_COMMAND"], "validate", str(path), "--json"]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    return done.returncode, json.loads(done.stdout.splitlines()[-1])


def test_aws_and_vault_make_a_run_file(tmp_path, aws, keys):
    code, said = validated(run_file(tmp_path, aws, keys))
    assert code == 0, said


def test_gcp_and_vault_make_a_run_file(tmp_path, gcp, keys):
    code, said = validated(run_file(tmp_path, gcp, keys))
    assert code == 0, said


def test_control_what_no_module_outputs_is_refused(tmp_path, aws, keys):
    access = [{**aws["access"][0], "rolle": "arn:aws:iam::111122223333:role/other"}]
    code, said = validated(run_file(tmp_path, aws, keys, access=access))
    assert code == 2
    assert "SR-RUN-012" in {error["code"] for error in said["errors"]}


def test_aws_and_vault_make_an_owner_file(tmp_path, aws):
    """Read whole, which shows in the only error: the place that its access does not hold."""
    document = {
        "apiVersion": "strongroom/v1",
        "kind": "DataOwner",
        "access": aws["owner_access"],
        "identity": {
            "type": "openbao",
            "addr": "https://bao.acme.example:8200",
            "credentials": "/etc/strongroom/owner.json",
            "oidc_role": "strongroom-owner",
        },
        "releaser": "unix:///run/releaser.sock",
        "signers": [f"ed25519:{43 * 'A'}="],
    }
    path = tmp_path / "owner.yaml"
    path.write_text(json.dumps(document, indent=2))
    command = [os.environ["STRONGROOM_COMMAND"], "dataset", "s3://acme-audit/datasets/", "--json"]
    done = subprocess.run([*command, "--owner", path], check=False, capture_output=True, text=True)
    (error,) = json.loads(done.stdout.splitlines()[-1])["errors"]
    assert (error["code"], error["expected"]) == ("SR-SEAL-005", "s3://acme-data/…")


def test_aws_and_vault_make_the_releaser_s_settings(tmp_path, aws, planned):
    """All that the product's own type of them has, but for what is the machine's."""
    vault = terraform_cli.outputs(MODULES / "vault" / "policies", tmp_path, VAULT_EXAMPLE)
    assert vault["releaser_keys"] == planned["releaser"]["keys"]
    made = {**aws["releaser_log"], **vault["releaser_log"]}
    of_the_machine = {"credentials_file", "memory", "ttl_s", "vault_addr"}
    wanted = planned["releaser"]["log"]
    assert made == {name: wanted[name] for name in wanted if name not in of_the_machine}


def test_without_an_owner_there_is_no_access_for_one(tmp_path):
    values = {**AWS_EXAMPLE, "owner_subject": None}
    made = terraform_cli.outputs(MODULES / "aws" / "policies", tmp_path, values)
    assert made["owner_access"] == []
