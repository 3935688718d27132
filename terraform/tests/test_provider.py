"""The whole chain on the embedded stack: datasets sealed, a run trained, read back, left in place.

The tests are steps in the life of one configuration and run in order.
"""

from __future__ import annotations

import json
import shutil
from concurrent import futures
from pathlib import Path
from typing import Any

import pytest
from terraform_cli import Terraform

ROOT = Path(__file__).parents[2]
PARTS = ("examples/terraform", "examples/feedback", "terraform/modules/embedded")
RUN = "strongroom_run.this"
pytestmark = pytest.mark.timeout(600)


class Example:
    """The example, copied, so that nothing is written into the repository."""

    def __init__(self, folder: Path, mirror: Path, settings: dict[str, str]) -> None:
        for part in PARTS:
            shutil.copytree(
                ROOT / part, folder / part, ignore=shutil.ignore_patterns(".terraform*")
            )
        self.folder = folder / "examples" / "terraform"
        (self.folder / "terraform.tfvars.json").write_text(json.dumps(settings))
        (folder / "data").mkdir()
        self.terraform = Terraform(self.folder, folder / "data", mirror)

    def outputs(self) -> dict[str, Any]:
        made = json.loads(self.terraform("output", "-json"))
        return {name: each["value"] for name, each in made.items()}

    def planned(self, *options: str) -> dict[str, dict[str, Any]]:
        """What a plan would change, by address."""
        self.terraform("plan", "-no-color", "-out=planned", *options)
        plan = json.loads(self.terraform("show", "-json", "planned"))
        return {each["address"]: each["change"] for each in plan["resource_changes"]}

    def state(self, name: str = "terraform.tfstate") -> str:
        return (self.folder / name).read_text()

    def attributes(self, address: str) -> dict[str, Any]:
        """What Terraform keeps of one resource or data source."""
        [found] = [
            each["instances"][0]["attributes"]
            for each in json.loads(self.state())["resources"]
            if f"{each['type']}.{each['name']}" == address
        ]
        return dict(found)


@pytest.fixture(scope="module")
def example(tmp_path_factory, mirror, stack, rows):
    settings = {"command": stack.command, "state": str(stack.state), "rows": str(rows)}
    return Example(tmp_path_factory.mktemp("work"), mirror, {**settings, "steps": "2"})


def words(text: str) -> str:
    """A message without the frame and the line breaks that Terraform gives it."""
    return " ".join(text.replace("│", " ").split())


def test_the_example_is_well_formed(example):
    example.terraform("fmt", "-check", "-recursive")
    example.terraform("init", "-no-color")
    assert json.loads(example.terraform("validate", "-json"))["valid"]


def test_a_missing_command_is_a_clear_error(example):
    code, text = example.terraform.run(
        "plan", "-no-color", "-var=command=/no/such/strongroom", "-target=module.customer"
    )
    assert code == 0, text  # nothing is asked of the command before there is something to read
    code, text = example.terraform.run(
        "apply", "-no-color", "-auto-approve", "-var=command=/no/such/strongroom"
    )
    assert code == 1
    assert "SR-TERRAFORM-001 the strongroom command cannot be started" in words(text)


def test_one_apply_seals_trains_and_reports(example, stack):
    example.terraform("apply", "-auto-approve", "-no-color")
    found = example.outputs()
    assert Path(found["report"]).read_text().lstrip().lower().startswith("<!doctype html>")
    assert {"before.score_mean", "after.score_mean"} <= found["metrics"].keys()
    [row] = stack("status", found["run"])
    assert (row["state"], row["step"]) == ("completed", 2)
    assert row["adapter_sha256"] == found["adapter_sha256"]
    run = example.attributes(RUN)
    assert {name: run[name] for name in ("id", "status", "step", "outputs", "plan_digest")} == {
        "id": row["run"],
        "status": row["state"],
        "step": row["step"],
        "outputs": row["outputs"],
        "plan_digest": row["plan"],
    }
    assert row["log"] == {name: run[f"log_{name}"] for name in ("origin", "size", "root")}
    assert all(check["ok"] for check in stack("verify", found["run"])["checks"])


def test_the_plan_is_what_the_command_says(example, stack):
    shown = example.attributes("strongroom_plan.this")
    params = [f"--param={name}={value}" for name, value in shown["params"].items()]
    said = stack("plan", str(example.folder / "run.yaml"), "--stable-id", *params)
    assert {name: shown[name] for name in ("id", "intent", "digest")} == {
        name: said[name] for name in ("id", "intent", "digest")
    }
    assert json.loads(shown["objects"]) == said["plan"]["objects"]
    assert json.loads(shown["leases"]) == said["plan"]["leases"]
    assert shown["capacity_bits"] == said["plan"]["capacity_bits"] > 0
    assert example.attributes(RUN)["plan_digest"] == said["digest"]


def test_a_second_plan_is_empty(example):
    example.terraform("plan", "-detailed-exitcode", "-no-color")


def test_state_holds_no_secret_and_no_row(example, stack, rows):
    state = example.state()
    texts = [json.loads(line)["messages"][-1]["content"] for line in (rows / "train.jsonl").open()]
    assert not [text for text in texts if json.dumps(text)[1:-1] in state]
    secrets = {
        value
        for path in (stack.state / "identity").glob("*.json")
        for value in json.loads(path.read_bytes()).values()
        if isinstance(value, str) and len(value) > 20
    }
    assert len(secrets) > 3
    assert not [secret for secret in secrets if secret in state]


def test_a_changed_hyperparameter_is_a_new_run(example):
    changes = example.planned("-var=learning_rate=1.0e-4")
    run = changes.pop(RUN)
    assert run["actions"] == ["delete", "create"]
    assert ["intent"] in run["replace_paths"]
    assert all(change["actions"] == ["no-op"] for change in changes.values())


def test_another_spelling_of_the_same_run_is_no_new_run(example):
    assert example.planned("-var=learning_rate=0.0005")[RUN]["actions"] == ["update"]


def test_a_denial_is_an_error_of_plan_on_the_right_attribute(example):
    code, text = example.terraform.run("plan", "-json", "-var=ttl=2h")
    assert code == 1
    lines = [json.loads(line) for line in text.splitlines()]
    found = [line["diagnostic"] for line in lines if "diagnostic" in line]
    errors = [each for each in found if each["severity"] == "error"]
    assert errors
    for error in errors:
        assert error["summary"] == "denied by policy rule lease_lifetime"
        assert "run.yaml:" in error["detail"]
        assert "ttl" in json.dumps(error.get("snippet"))


def test_a_mistake_in_the_run_file_is_an_error_of_plan(example):
    path = example.folder / "run.yaml"
    right = path.read_text()
    path.write_text(right.replace("  evaluator:", "  evaluater:"))
    try:
        code, text = example.terraform.run("plan", "-no-color")
    finally:
        path.write_text(right)
    assert code == 1
    assert "SR-RUN-012 unknown field" in words(text)
    assert "Did you mean evaluator?" in words(text)


ONE_DATASET = """
terraform {
  required_providers {
    strongroom = { source = "strongroom/strongroom" }
  }
}

variable "command" { type = string }
variable "state" { type = string }

provider "strongroom" {
  command = var.command
  state   = var.state
}

resource "strongroom_dataset" "this" {
  source = "rows"
  uri    = "s3://acme-data/datasets/fixed/"
  key    = "vault://transit/feedback"
}
"""


def one_dataset(folder: Path, text: str, stack: Any, rows: Path, mirror: Path) -> Terraform:
    """A root module of this text beside a folder ``rows``, initialised."""
    (folder / "main.tf").write_text(text)
    settings = {"command": stack.command, "state": str(stack.state)}
    (folder / "terraform.tfvars.json").write_text(json.dumps(settings))
    (folder / "rows").mkdir()
    shutil.copy(rows / "held_out.jsonl", folder / "rows" / "rows.jsonl")
    (folder / "data").mkdir()
    terraform = Terraform(folder, folder / "data", mirror)
    terraform("init", "-no-color")
    return terraform


def test_rows_that_changed_under_the_same_prefix_are_an_error_of_plan(
    example, stack, rows, mirror, tmp_path
):
    """Whose ``uri`` does not follow the rows, as that of the example does."""
    terraform = one_dataset(tmp_path, ONE_DATASET, stack, rows, mirror)
    terraform("apply", "-auto-approve", "-no-color")
    (tmp_path / "rows" / "README.md").write_text("Where these rows are from.")
    (tmp_path / "rows" / "older").mkdir()
    terraform("plan", "-detailed-exitcode", "-no-color")
    shutil.copy(rows / "train.jsonl", tmp_path / "rows" / "rows.jsonl")
    code, text = terraform.run("plan", "-no-color")
    assert code == 1
    assert "SR-TERRAFORM-003 the rows have changed under the same uri" in words(text)


@pytest.mark.parametrize(
    ("attribute", "right", "wrong", "code"),
    [
        ("key", "vault://transit/feedback", "vault://transit/nobody-s", "SR-KMS-"),
        ("uri", "s3://acme-data/", "s3://another-bucket/", "SR-SEAL-005"),
        ("source", "rows", "no-rows", "SR-SEAL-002"),
    ],
)
def test_a_seal_that_fails_names_the_attribute(
    example, stack, rows, mirror, tmp_path, attribute, right, wrong, code
):
    text = ONE_DATASET.replace("datasets/fixed/", "datasets/never/")
    assert f'"{right}' in text
    text = text.replace(f'"{right}', f'"{wrong}')
    terraform = one_dataset(tmp_path, text, stack, rows, mirror)
    status, said = terraform.run("apply", "-auto-approve", "-json")
    assert status == 1
    lines = [json.loads(line) for line in said.splitlines()]
    [error] = [line["diagnostic"] for line in lines if line["type"] == "diagnostic"]
    assert error["summary"].startswith(code)
    assert error["snippet"]["code"].split()[0] == attribute


def test_the_provider_s_owner_file_is_the_one_that_seals(example, stack, rows, mirror, tmp_path):
    """Its access holds another bucket, so the embedded stack's is out of reach."""
    owner = {
        "apiVersion": "strongroom/v1",
        "kind": "DataOwner",
        "access": [{"uri": "s3://another-bucket/", "role": "arn:aws:iam::111122223333:role/owner"}],
        "identity": {
            "type": "openbao",
            "addr": "https://bao.acme.example",
            "credentials": "owner.json",
            "oidc_role": "owner",
        },
        "releaser": "unix://socket",
        "signers": [f"ed25519:{43 * 'A'}="],
    }
    (tmp_path / "owner.yaml").write_text(json.dumps(owner, indent=2))
    state = "  state   = var.state\n"
    assert state in ONE_DATASET
    text = ONE_DATASET.replace(state, f'{state}  owner   = "owner.yaml"\n')
    terraform = one_dataset(tmp_path, text, stack, rows, mirror)
    status, said = terraform.run("apply", "-auto-approve", "-no-color")
    assert status == 1
    assert "SR-SEAL-005" in words(said)
    assert "s3://another-bucket/" in words(said)


def test_a_run_can_be_imported(example):
    run = example.outputs()["run"]
    example.terraform("state", "rm", RUN)
    example.terraform("import", "-no-color", RUN, run)
    assert example.planned()[RUN]["actions"] in (["update"], ["no-op"])
    example.terraform("apply", "-auto-approve", "-no-color")
    example.terraform("plan", "-detailed-exitcode", "-no-color")


def test_destroy_leaves_outputs_and_log(example, stack):
    run = example.outputs()["run"]
    text = example.terraform("destroy", "-auto-approve", "-no-color")
    assert "the sealed dataset stays in the bucket" in words(text)
    stack("stack", "up")
    assert all(check["ok"] for check in stack("verify", run)["checks"])


def test_a_finished_run_is_taken_as_it_is(example, stack):
    """Forgotten datasets are taken up by import; the run they led to is found, not made again.

    Another run would say so in the log; its adapter would be the same, since training repeats.
    """
    [run] = stack("status")
    assert run["state"] == "completed"
    before = json.loads(example.state("terraform.tfstate.backup"))
    known = {
        f"{each['type']}.{each['name']}": item["attributes"]["id"]
        for each in before["resources"]
        if each["type"] == "strongroom_dataset"
        for item in each["instances"]
    }
    assert len(known) == 2
    code, text = example.terraform.run("apply", "-auto-approve", "-no-color")
    assert code == 1
    assert "SR-SEAL-001" in text
    for address, uri in known.items():
        example.terraform("import", "-no-color", address, uri)
    example.terraform("apply", "-auto-approve", "-no-color")
    digest = before["outputs"]["adapter_sha256"]["value"]
    assert example.outputs()["adapter_sha256"] == digest
    assert stack("status") == [run]
    assert example.attributes(RUN)["log_size"] == run["log"]["size"]
    example.terraform("plan", "-detailed-exitcode", "-no-color")


def test_a_run_that_ends_badly_is_known_to_terraform(example, stack):
    """Cancelled from outside while ``apply`` waits; applied again it goes on."""
    with futures.ThreadPoolExecutor() as pool:
        applied = pool.submit(
            example.terraform.run, "apply", "-auto-approve", "-no-color", "-var=steps=12"
        )
        while True:
            going = [row for row in stack("status") if row["state"] in ("submitted", "running")]
            if going or applied.done():
                break
        stack("cancel", going[0]["run"])
        code, text = applied.result()
    assert code == 1
    assert "SR-RUN-219 the run was cancelled" in words(text)
    [run] = [
        each
        for each in json.loads(example.state())["resources"]
        if f"{each['type']}.{each['name']}" == RUN
    ]
    [instance] = run["instances"]
    assert instance["status"] == "tainted"
    assert instance["attributes"]["id"] == going[0]["run"]
    example.terraform("apply", "-auto-approve", "-no-color", "-var=steps=12")
    [row] = [row for row in stack("status") if row["run"] == going[0]["run"]]
    assert row["state"] == "completed"
    example.terraform("apply", "-auto-approve", "-no-color")


def test_destroy_cancels_a_run_that_goes_on(example, stack):
    """Submitted and left to itself; another run than before, which stays as it is."""
    finished = example.outputs()["run"]
    example.terraform("apply", "-auto-approve", "-no-color", "-var=wait=false", "-var=steps=200")
    run = example.outputs()["run"]
    assert run != finished
    [row] = stack("status", run)
    assert row["state"] in ("submitted", "running")
    known = stack.state / "runs" / f"{run}.json"
    elsewhere = known.rename(known.with_suffix(".elsewhere"))
    try:  # as on another machine
        text = example.terraform("plan", "-no-color", "-var=wait=false", "-var=steps=200")
        assert "SR-TERRAFORM-004" in text
        code, text = example.terraform.run(
            "destroy", "-auto-approve", "-no-color", f"-target={RUN}"
        )
        assert code == 1
        assert "SR-RUN-203 no run with this id is known" in words(text)
    finally:
        elsewhere.rename(known)
    example.terraform("destroy", "-auto-approve", "-no-color")
    stack("stack", "up")
    [row] = stack("status", run)
    assert row["state"] == "cancelled"
    [row] = stack("status", finished)
    assert row["state"] == "completed"
