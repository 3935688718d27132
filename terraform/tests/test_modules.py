"""Form of the modules: layout, formatting, versions, documentation, and what bad inputs get."""

from __future__ import annotations

import importlib.util
import json
import re
import shutil
from pathlib import Path
from typing import Any

import hcl2
import pytest
from examples_values import AWS_EXAMPLE, GCP_EXAMPLE, MODULES, VAULT_EXAMPLE
from terraform_cli import Terraform, aws_plugins

NAMES = ("aws", "gcp", "vault")
FOLDERS = [MODULES / name / part for name in NAMES for part in ("", "policies", "examples/basic")]
WITHOUT_PROVIDER = [MODULES / name / "policies" for name in NAMES]


def label(folder: Path) -> str:
    return str(folder.relative_to(MODULES))


@pytest.mark.parametrize("name", NAMES)
def test_modules_have_the_usual_files(name):
    for file in ("main.tf", "variables.tf", "outputs.tf", "versions.tf", "README.md"):
        assert (MODULES / name / file).is_file(), file
    assert (MODULES / name / "examples" / "basic" / "main.tf").is_file()


def test_files_are_formatted(tmp_path):
    Terraform(MODULES, tmp_path)("fmt", "-check", "-recursive", "-diff")


@pytest.mark.parametrize("folder", FOLDERS, ids=label)
def test_files_parse_and_only_examples_configure_providers(folder):
    blocks = [hcl2.loads(path.read_text()) for path in sorted(folder.glob("*.tf"))]
    assert blocks
    has_provider = any("provider" in block for block in blocks)
    assert has_provider == ("examples" in folder.parts)
    (terraform,) = [block["terraform"][0] for block in blocks if "terraform" in block]
    assert terraform["required_version"] == [">= 1.7.0"]
    for providers in terraform.get("required_providers", []):
        assert all(
            re.match(r"~> \d+\.\d+$", provider["version"]) for (provider,) in providers.values()
        )


@pytest.mark.parametrize(
    ("name", "values"), [("aws", AWS_EXAMPLE), ("gcp", GCP_EXAMPLE), ("vault", VAULT_EXAMPLE)]
)
def test_examples_say_what_is_compared_with_a_plan(name, values):
    example = hcl2.loads((MODULES / name / "examples" / "basic" / "main.tf").read_text())
    (module,) = [block["strongroom"] for block in example["module"]]
    compared = [f for f in module if f in values and not str(module[f][0]).startswith("${var.")]
    assert compared
    for field in compared:
        assert module[field] == [values[field]], field


@pytest.mark.parametrize("name", NAMES)
def test_inputs_are_described_and_checked(name):
    variables = hcl2.loads((MODULES / name / "variables.tf").read_text())["variable"]
    for block in variables:
        for variable, body in block.items():
            assert body["description"][0].endswith("."), variable
            assert body["type"], variable
            free = body["type"] == ["${bool}"] or variable in ("tags", "labels")
            assert free or body.get("validation"), f"{variable} has no validation"
            for validation in body.get("validation", []):
                assert "must" in validation["error_message"][0], variable


def test_tables_are_what_the_code_says():
    spec = importlib.util.spec_from_file_location("terraform_docs", MODULES.parent / "docs.py")
    assert spec is not None
    assert spec.loader is not None
    docs = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(docs)
    assert docs.stale() == [], "run `python terraform/docs.py` and commit"


@pytest.mark.parametrize("folder", WITHOUT_PROVIDER, ids=label)
def test_terraform_s_own_tests_pass(folder, tmp_path):
    tree = tmp_path / "policies"
    shutil.copytree(folder, tree)
    terraform = Terraform(tree, tmp_path)
    terraform("init", "-no-color", "-backend=false")
    assert re.search(r"Success! [1-9]\d* passed, 0 failed", terraform("test", "-no-color"))


@pytest.mark.skipif(
    aws_plugins() is None,
    reason="no plugin mirror with hashicorp/aws 5.100 or newer; set TF_PLUGIN_MIRROR",
)
def test_terraform_s_own_tests_of_the_aws_module_pass(tmp_path):
    tree = tmp_path / "aws"
    shutil.copytree(MODULES / "aws", tree)
    terraform = Terraform(tree, tmp_path, aws_plugins())
    terraform("init", "-no-color", "-backend=false")
    assert "Success! The configuration is valid." in terraform("validate", "-no-color")
    assert re.search(r"Success! [1-9]\d* passed, 0 failed", terraform("test", "-no-color"))


GOOD: dict[str, dict[str, Any]] = {
    "aws": {
        "data_bucket": "acme-data",
        "audit_bucket": "acme-audit",
        "input_prefixes": ["datasets/feedback/train/"],
        "issuer_url": "https://bao.acme.example/v1/identity/oidc",
        "broker_subject": "entity",
        "log_subject": "entity-of-the-log",
        "audit_retention_days": 30,
    },
    "gcp": {
        "project": "acme-ml",
        "location": "europe-west3",
        "data_bucket": "acme-data",
        "audit_bucket": "acme-audit",
        "input_prefixes": ["datasets/feedback/train/"],
        "issuer_url": "https://bao.acme.example/v1/identity/oidc",
        "broker_subject": "entity",
        "log_subject": "entity-of-the-log",
        "audit_retention_days": 30,
    },
    "vault": {
        "address": "https://bao.acme.example",
        "data_keys": ["feedback"],
        "outputs_keys": ["feedback-outputs"],
    },
}

JWT = {
    "issuer": "https://kubernetes.acme.example",
    "audience": "strongroom",
    "bound_subjects": {"broker": "s"},
}

BAD: list[tuple[str, str, Any]] = [
    *[
        (cloud, field, value)
        for cloud in ("aws", "gcp")
        for field, value in (
            ("data_bucket", "Acme"),
            ("data_bucket", "acme.data"),
            ("audit_bucket", "a"),
            ("input_prefixes", []),
            ("input_prefixes", ["datasets"]),
            ("input_prefixes", ["/"]),
            ("input_prefixes", [""]),
            ("input_prefixes", ["datasets/*/"]),
            ("input_prefixes", ["datasets/../runs/"]),
            ("input_prefixes", ["datasets/${aws:username}/"]),
            ("outputs_prefix", "runs"),
            ("outputs_prefix", ""),
            ("audit_prefix", "?/"),
            ("issuer_url", "http://bao.acme.example"),
            ("issuer_url", "https://bao.acme.example/"),
            ("audience", "*"),
            ("broker_subject", "*"),
            ("broker_subject", ""),
            ("log_subject", "*"),
            ("log_subject", ""),
            ("audit_retention_days", 0),
            ("audit_retention_days", 1.5),
            ("abort_uploads_after_days", 31),
        )
    ],
    ("aws", "name", "Strong Room"),
    ("aws", "owner_subject", "*"),
    ("aws", "owner_prefixes", ["*/"]),
    ("aws", "oidc_provider_arn", "bao.acme.example"),
    ("aws", "auditor_arns", ["*"]),
    ("aws", "auditor_arns", ["arn:aws:iam::111122223333:root"]),
    ("aws", "auditor_arns", ["arn:aws:iam::111122223333:role/audit*"]),
    ("aws", "key_administrators", ["*"]),
    ("aws", "key_administrators", ["arn:aws:iam::111122223333:role/*"]),
    ("aws", "key_deletion_days", 6),
    ("aws", "audit_retention_mode", "compliance"),
    ("aws", "access_log_days", 0),
    ("aws", "vpc_endpoint_ids", ["vpc-1"]),
    ("gcp", "name", "x"),
    ("gcp", "project", "123456"),
    ("gcp", "location", "EU"),
    ("gcp", "confidential_space_image", "latest"),
    ("gcp", "allowed_cidrs", ["0.0.0.0/0"]),
    ("gcp", "allowed_vpcs", {"default": ["10.0.0.0/8"]}),
    ("gcp", "allowed_vpcs", {"projects/acme-ml/global/networks/vpc": ["everywhere"]}),
    ("vault", "name", "x y"),
    ("vault", "address", "http://bao.acme.example"),
    ("vault", "address", "https://bao.acme.example/"),
    ("vault", "transit_mount", "/transit"),
    ("vault", "data_keys", []),
    ("vault", "data_keys", ["*"]),
    ("vault", "outputs_keys", ["a/b"]),
    ("vault", "audit_key", "+"),
    ("vault", "signer_key", ""),
    ("vault", "audience", "*"),
    ("vault", "identity_token_ttl_s", 901),
    ("vault", "login_ttl_s", 3600),
    ("vault", "bound_cidrs", {"broker": ["0.0.0.0/0"]}),
    ("vault", "bound_cidrs", {"admin": ["10.0.0.0/8"]}),
    ("vault", "audit_file", "audit.log"),
    ("vault", "jwt", {**JWT, "issuer": "http://x"}),
    ("vault", "jwt", {**JWT, "audience": "*"}),
    ("vault", "jwt", {**JWT, "bound_subjects": {"broker": "*"}}),
    ("vault", "jwt", {**JWT, "bound_subjects": {}}),
    ("vault", "jwt", {**JWT, "subject_claim": "email"}),
    ("vault", "jwt", {**JWT, "bound_claims": {"releaser": {"a": "b"}}}),
]


@pytest.fixture(scope="module")
def inputs_of(tmp_path_factory):
    """For each module a root of its variables alone, which need no provider to be checked."""
    roots = {}
    for name in NAMES:
        root = tmp_path_factory.mktemp(name)
        shutil.copy(MODULES / name / "variables.tf", root)
        roots[name] = Terraform(root, tmp_path_factory.mktemp(f"{name}-data"))
        roots[name]("init", "-no-color", "-backend=false")

    def plan(name: str, values: dict[str, Any]) -> tuple[int, str]:
        file = roots[name].folder / "terraform.tfvars.json"
        file.write_text(json.dumps(values))
        return roots[name].run("plan", "-no-color")

    return plan


@pytest.mark.parametrize("name", NAMES)
def test_good_inputs_pass(inputs_of, name):
    code, text = inputs_of(name, GOOD[name])
    assert code == 0, text
    if name == "vault":
        code, text = inputs_of(name, {**GOOD[name], "jwt": JWT, "audit_file": "/var/log/audit.log"})
        assert code == 0, text


def _rounds() -> list[tuple[str, dict[str, Any]]]:
    """The bad inputs, as many at once as there are different fields: Terraform reports them all."""
    rounds: list[tuple[str, dict[str, Any]]] = []
    for name, field, value in BAD:
        for held, values in rounds:
            if held == name and field not in values:
                values[field] = value
                break
        else:
            rounds.append((name, {field: value}))
    return rounds


@pytest.mark.parametrize(("name", "bad"), _rounds())
def test_bad_inputs_are_refused_with_what_is_expected(inputs_of, name, bad):
    code, text = inputs_of(name, {**GOOD[name], **bad})
    assert code == 1
    assert text.count("Invalid value for variable") == len(bad), text
    for field in bad:
        assert re.search(rf"{field}\S* must", text), f"{field} is not refused:\n{text}"
