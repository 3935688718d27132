"""What modules/gcp allows is what `strongroom plan` lists for a run, and nothing else.

The plan's leases are S3's, since brokers lease `s3://` only; here they are read as what they mean
on Cloud Storage. Conditions (CEL) are compared as text: no evaluator of them is at hand.
"""

from __future__ import annotations

import copy
from collections import defaultdict
from typing import Any

import pytest
import terraform_cli
from examples_values import GCP_EXAMPLE, MODULES

RIGHTS = {"s3:GetObject": "read", "s3:PutObject": "create", "s3:GetBucketLocation": "settings"}


@pytest.fixture(scope="module")
def gcp(tmp_path_factory) -> dict[str, Any]:
    """The outputs of modules/gcp/policies for the example."""
    data = tmp_path_factory.mktemp("gcp-policies")
    return terraform_cli.outputs(MODULES / "gcp" / "policies", data, GCP_EXAMPLE)


def planned_uses(planned: dict[str, Any]) -> set[tuple[str, str, str, str]]:
    """(account, right, bucket, prefix) of every lease, over all runs."""
    wanted = set()
    for lease in planned["leases"]:
        account = lease["role"].rpartition("-")[2]
        for statement in lease["session_policy"]["Statement"]:
            right = next(
                (RIGHTS[action] for action in statement["Action"] if action in RIGHTS), None
            )
            for resource in statement["Resource"] if right else ():
                bucket, _, prefix = resource.removeprefix("arn:aws:s3:::").partition("/")
                prefix = prefix.removesuffix("*").replace(f"runs/{planned['run']}/", "runs/")
                wanted.add((account, right, bucket, prefix))
    # The log's newest checkpoint is replaced, which Cloud Storage counts as deleting it.
    audit = planned["audit"].removeprefix("s3://acme-audit/")
    return wanted | {("log", "replace", "acme-audit", f"{audit}checkpoint")}


def exact(gcp: dict[str, Any], planned: dict[str, Any]) -> None:
    """Fails where an account holds more or less than the plan's leases."""
    held = {(g["account"], g["right"], g["bucket"], g["of"]) for g in gcp["grants"].values()}
    wanted = planned_uses(planned)
    assert held == wanted, f"more {held - wanted}, less {wanted - held}"
    for grant in gcp["grants"].values():
        place = f"projects/_/buckets/{grant['bucket']}"
        conditions = {
            "read": f'resource.name.startsWith("{place}/objects/{grant["of"]}") || '
            'api.getAttribute("storage.googleapis.com/objectListPrefix", "")'
            f'.startsWith("{grant["of"]}")',
            "create": f'resource.name.startsWith("{place}/objects/{grant["of"]}")',
            "replace": f'resource.name == "{place}/objects/{grant["of"]}"',
            "settings": f'resource.name == "{place}"',
        }
        assert grant["condition"] == conditions[grant["right"]]


def test_accounts_hold_exactly_what_the_plan_lists(gcp, planned):
    exact(gcp, planned)


def test_rights_hold_no_other_permissions(gcp):
    permissions = {right: set(names) for right, names in gcp["permissions"].items()}
    assert permissions["read"] == {"storage.objects.get", "storage.objects.list"}
    assert permissions["replace"] == {"storage.objects.delete"}
    assert permissions["settings"] == {"storage.buckets.get"}
    assert "storage.objects.delete" not in permissions["create"] | permissions["read"]
    uploads = {f"storage.multipartUploads.{verb}" for verb in ("abort", "create", "listParts")}
    assert permissions["create"] == {"storage.objects.create"} | uploads


def test_only_the_exact_subjects_are_taken(gcp):
    subjects = ("entity-of-the-broker", "entity-of-the-log")
    condition = " || ".join(f'assertion.sub == "{subject}"' for subject in subjects)
    assert gcp["token_condition"] == condition
    broker, log = subjects
    assert gcp["subjects"] == {"inputs": broker, "runs": broker, "audit": broker, "log": log}


def test_only_the_attested_image_is_taken(tmp_path):
    image = "sha256:" + "a" * 64
    values = {**GCP_EXAMPLE, "confidential_space_image": image}
    made = terraform_cli.outputs(MODULES / "gcp" / "policies", tmp_path, values)
    condition = made["confidential_space_condition"]
    assert f'assertion.submods.container.image_digest == "{image}"' in condition
    assert 'assertion.swname == "CONFIDENTIAL_SPACE"' in condition
    assert '"STABLE" in assertion.submods.confidential_space.support_attributes' in condition


def test_the_releaser_s_settings_have_the_bucket_s_part(gcp, planned):
    wanted = planned["releaser"]["log"]
    uri, role = wanted["uri"].replace("s3://", "gs://"), wanted["role"].rpartition("/")[2]
    made = gcp["releaser_log"]
    assert made == {"uri": uri, "role": f"{role}@acme-ml.iam.gserviceaccount.com"}


def test_the_access_of_a_run_file_has_the_plan_s_form(gcp, planned):
    for made, wanted in zip(gcp["access"], planned["access"], strict=True):
        assert made["uri"] == wanted["uri"].replace("s3://", "gs://")
        assert made["role"].partition("@")[0] == wanted["role"].rpartition("/")[2]
        assert (made["via"], made["ttl"]) == (wanted["via"], wanted["ttl"])


@pytest.mark.parametrize("field", ["right", "of", "bucket", "condition"])
def test_control_other_grants_are_noticed(gcp, planned, field):
    other: dict[str, Any] = copy.deepcopy(gcp)
    grant = other["grants"]["inputs read datasets/feedback/train/"]
    grant[field] = defaultdict(str, right="create", of="datasets/", bucket="acme-audit")[field]
    with pytest.raises(AssertionError):
        exact(other, planned)
