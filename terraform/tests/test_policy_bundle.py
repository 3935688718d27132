"""A policy bundle as a resource: written, left alone, changed in place, refused, taken up."""

from __future__ import annotations

import json
import shutil

import pytest
from terraform_cli import Terraform

CONFIGURATION = """
terraform {
  required_providers {
    strongroom = { source = "strongroom/strongroom" }
  }
}

variable "folder" { type = string }
variable "command" { type = string }
variable "state" { type = string }
variable "max_ttl_s" { type = string }

provider "strongroom" {
  command = var.command
  state   = var.state
}

resource "strongroom_policy_bundle" "this" {
  folder   = var.folder
  settings = jsonencode({
    max_ttl_s    = jsondecode(var.max_ttl_s)
    kms_prefixes = ["vault://transit/"]
  })
}

output "digest" {
  value = strongroom_policy_bundle.this.digest
}
"""


@pytest.fixture(scope="module")
def terraform(tmp_path_factory, mirror, stack):
    folder = tmp_path_factory.mktemp("bundle")
    (folder / "main.tf").write_text(CONFIGURATION)
    settings = {
        "folder": str(folder / "policy"),
        "command": stack.command,
        "state": str(stack.state),
        "max_ttl_s": "900",
    }
    (folder / "terraform.tfvars.json").write_text(json.dumps(settings))
    (folder / "data").mkdir()
    found = Terraform(folder, folder / "data", mirror)
    found("init", "-no-color")
    return found


def digest(terraform):
    return json.loads(terraform("output", "-json"))["digest"]["value"]


def test_a_bundle_is_written_and_left_alone(terraform):
    terraform("apply", "-auto-approve", "-no-color")
    written = json.loads((terraform.folder / "policy" / "data.json").read_text())
    assert written["settings"]["max_ttl_s"] == 900
    assert digest(terraform).startswith("sha256:")
    terraform("plan", "-detailed-exitcode", "-no-color")


def test_a_bundle_that_somebody_changed_is_written_again(terraform):
    before = digest(terraform)
    path = terraform.folder / "policy" / "data.json"
    path.write_text(path.read_text().replace("900", "43200"))
    code, _ = terraform.run("plan", "-detailed-exitcode", "-no-color")
    assert code == 2
    terraform("apply", "-auto-approve", "-no-color")
    assert digest(terraform) == before


def test_a_bundle_that_is_gone_is_planned_again(terraform):
    before = digest(terraform)
    shutil.rmtree(terraform.folder / "policy")
    code, _ = terraform.run("plan", "-detailed-exitcode", "-no-color")
    assert code == 2
    terraform("apply", "-auto-approve", "-no-color")
    assert digest(terraform) == before


def test_rules_of_another_version_are_brought_up_to_date(terraform):
    """As after an upgrade: the folder is as it was written, the installed rules are others."""
    before = digest(terraform)
    rule = sorted((terraform.folder / "policy").glob("*.rego"))[0]
    rule.write_text(rule.read_text() + "# as it was\n")
    terraform("apply", "-refresh-only", "-auto-approve", "-no-color")
    assert digest(terraform) != before
    code, _ = terraform.run("plan", "-detailed-exitcode", "-no-color")
    assert code == 2
    terraform("apply", "-auto-approve", "-no-color")
    assert digest(terraform) == before
    terraform("plan", "-detailed-exitcode", "-no-color")


def test_changed_settings_are_another_digest_in_the_same_folder(terraform):
    before = digest(terraform)
    terraform("apply", "-auto-approve", "-no-color", "-var=max_ttl_s=1800")
    assert digest(terraform) != before
    terraform("apply", "-auto-approve", "-no-color")
    assert digest(terraform) == before


def test_wrong_settings_are_an_error_on_the_settings(terraform):
    before = digest(terraform)
    code, text = terraform.run("apply", "-auto-approve", "-no-color", "-var=max_ttl_s=1")
    assert code == 1
    assert "SR-POLICY-006" in text
    assert "settings" in text
    assert digest(terraform) == before


def test_a_bundle_stays_when_it_is_destroyed_and_can_be_taken_up(terraform):
    before = digest(terraform)
    folder = str(terraform.folder / "policy")
    text = terraform("destroy", "-auto-approve", "-no-color")
    assert "stays in its folder" in " ".join(text.split())
    assert (terraform.folder / "policy" / "data.json").exists()
    terraform("import", "-no-color", "strongroom_policy_bundle.this", folder)
    terraform("apply", "-auto-approve", "-no-color")
    assert digest(terraform) == before
