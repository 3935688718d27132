"""modules/aws with the real hashicorp/aws provider: made, read back, and destroyed, on moto.

As shipped it refuses to be destroyed. What is destroyed at the end is a copy without these lines.

moto has AWS's shapes and enforces almost none of its rules, so this shows that the provider takes
every argument and that the result holds together; what the policies mean is shown elsewhere.
Skipped where the provider's plugin is in no mirror (see terraform/README.md).
"""

from __future__ import annotations

import json
import re
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from examples_values import AWS_EXAMPLE, MODULES
from terraform_cli import Terraform, aws_plugins

boto3 = pytest.importorskip("boto3", reason="boto3 is not installed")
pytest.importorskip("moto.server", reason="moto[server] is not installed")

PLUGINS = aws_plugins()
pytestmark = [
    pytest.mark.skipif(
        PLUGINS is None,
        reason="no plugin mirror with hashicorp/aws 5.100 or newer; set TF_PLUGIN_MIRROR",
    ),
    pytest.mark.timeout(600),
]

OVERRIDE = """
provider "aws" {
  region                      = "us-east-1"
  access_key                  = "moto"
  secret_key                  = "moto"
  skip_credentials_validation = true
  skip_metadata_api_check     = true
  skip_requesting_account_id  = true
  s3_use_path_style           = true

  endpoints {
ENDPOINTS
  }
}
"""
SERVICES = ("cloudtrail", "iam", "kms", "s3", "sts")
ACCOUNT = "123456789012"
VARIABLES = (
    "-var=region=us-east-1",
    f"-var=broker_subject={AWS_EXAMPLE['broker_subject']}",
    f"-var=log_subject={AWS_EXAMPLE['log_subject']}",
    f"-var=owner_subject={AWS_EXAMPLE['owner_subject']}",
    f"-var=auditor_arns={json.dumps(AWS_EXAMPLE['auditor_arns'])}",
)
ROLES = ("inputs", "runs", "audit", "log", "owner")
PROTECTION = """
  lifecycle {
    prevent_destroy = true
  }
"""


@pytest.fixture(scope="module")
def moto() -> Iterator[str]:
    """moto's server on loopback."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    server = subprocess.Popen(
        [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    url = f"http://127.0.0.1:{port}"
    try:
        for _ in range(300):
            assert server.poll() is None, "moto ended at its start"
            try:
                urllib.request.urlopen(f"{url}/moto-api/", timeout=2).close()
                break
            except (urllib.error.URLError, OSError):
                time.sleep(0.1)
        yield url
    finally:
        server.kill()
        server.wait()


@pytest.fixture(scope="module")
def example(moto, tmp_path_factory) -> Terraform:
    """A copy of examples/basic, with the module as shipped, that speaks to moto."""
    tree = tmp_path_factory.mktemp("tree")
    shutil.copytree(MODULES / "aws", tree / "aws", ignore=shutil.ignore_patterns(".terraform*"))
    example = tree / "aws" / "examples" / "basic"
    endpoints = "\n".join(f'    {service} = "{moto}"' for service in SERVICES)
    (example / "moto_override.tf").write_text(OVERRIDE.replace("ENDPOINTS", endpoints))
    terraform = Terraform(example, tmp_path_factory.mktemp("data"), PLUGINS)
    terraform("init", "-no-color")
    return terraform


@pytest.fixture(scope="module")
def applied(example, moto) -> Iterator[tuple[dict[str, Any], str]]:
    """The outputs of the example as applied, and where it was applied. Destroyed at the end."""
    example("apply", "-no-color", "-auto-approve", *VARIABLES)
    code, again = example.run("plan", "-no-color", "-detailed-exitcode", *VARIABLES)
    assert code == 0, f"a second plan is not empty:\n{again}"
    state = json.loads((example.folder / "terraform.tfstate").read_text())
    yield {name: output["value"] for name, output in state["outputs"].items()}, moto
    s3 = client(moto, "s3")
    _empty_log_bucket(s3)
    # Terraform has no switch against `prevent_destroy`; whoever means it has to edit the module.
    # That it then goes is the control of the test that it does not go as shipped.
    _unprotect(example.folder.parents[1])
    example("destroy", "-no-color", "-auto-approve", *VARIABLES)
    assert s3.list_buckets()["Buckets"] == []
    assert client(moto, "iam").list_roles()["Roles"] == []


def _unprotect(module: Path) -> None:
    """Takes `prevent_destroy` out of a copy of the module."""
    protected = 0
    for path in module.glob("*.tf"):
        text = path.read_text()
        protected += text.count(PROTECTION)
        path.write_text(text.replace(PROTECTION, ""))
    assert protected == 3


def _empty_log_bucket(s3: Any) -> None:
    """The module destroys no bucket with objects in it, and moto delivers access logs at once."""
    for bucket in ("acme-data", "acme-audit"):
        s3.put_bucket_logging(Bucket=bucket, BucketLoggingStatus={})
    # moto takes the conditional denials of a bucket's policy for denials.
    s3.delete_bucket_policy(Bucket="acme-data-logs")
    found = s3.list_object_versions(Bucket="acme-data-logs")
    assert any(version["Key"].startswith("s3/data/") for version in found["Versions"])
    for version in (*found["Versions"], *found.get("DeleteMarkers", [])):
        s3.delete_object(
            Bucket="acme-data-logs", Key=version["Key"], VersionId=version["VersionId"]
        )


def client(moto: str, service: str) -> Any:
    """A client of moto's server."""
    return boto3.client(
        service,
        endpoint_url=moto,
        region_name="us-east-1",
        aws_access_key_id="moto",
        aws_secret_access_key="moto",
    )


def test_the_run_file_s_access_is_the_plan_s(applied, planned):
    outputs, _ = applied
    wanted = json.loads(json.dumps(planned["access"]).replace("111122223333", ACCOUNT))
    assert outputs["access"] == wanted


def test_buckets_are_as_the_admission_policy_wants_them(applied):
    _, moto = applied
    s3 = client(moto, "s3")
    for bucket in ("acme-data", "acme-audit", "acme-data-logs"):
        assert s3.get_bucket_versioning(Bucket=bucket)["Status"] == "Enabled"
        block = s3.get_public_access_block(Bucket=bucket)["PublicAccessBlockConfiguration"]
        assert set(block.values()) == {True}
        (rule,) = s3.get_bucket_ownership_controls(Bucket=bucket)["OwnershipControls"]["Rules"]
        assert rule["ObjectOwnership"] == "BucketOwnerEnforced"
        rules = s3.get_bucket_lifecycle_configuration(Bucket=bucket)["Rules"]
        assert any("AbortIncompleteMultipartUpload" in rule for rule in rules)
    rules = s3.get_bucket_lifecycle_configuration(Bucket="acme-data-logs")["Rules"]
    assert [rule["Filter"] for rule in rules if "Expiration" in rule] == [{"Prefix": "s3/"}]
    lock = s3.get_object_lock_configuration(Bucket="acme-audit")["ObjectLockConfiguration"]
    assert lock["ObjectLockEnabled"] == "Enabled"
    retention = lock["Rule"]["DefaultRetention"]
    assert (retention["Mode"], retention["Days"]) == ("COMPLIANCE", 365)
    for bucket in ("acme-data", "acme-audit"):
        answer = s3.get_bucket_encryption(Bucket=bucket)["ServerSideEncryptionConfiguration"]
        default = answer["Rules"][0]["ApplyServerSideEncryptionByDefault"]
        assert default["SSEAlgorithm"] == "aws:kms"
        assert default["KMSMasterKeyID"].startswith("arn:aws:kms:")
        assert not answer["Rules"][0].get("BucketKeyEnabled")
        logging = s3.get_bucket_logging(Bucket=bucket)["LoggingEnabled"]
        assert logging["TargetBucket"] == "acme-data-logs"


def test_policies_are_the_ones_that_were_compared(applied, aws):
    """Role, trust, bucket and key policies on the server are those of ./policies."""
    _, moto = applied
    iam, s3, kms = (client(moto, service) for service in ("iam", "s3", "kms"))

    def same(found: Any, wanted: Any) -> bool:
        text = json.dumps(wanted).replace(AWS_EXAMPLE["account_id"], ACCOUNT)
        for key, arn in kms_arns.items():
            text = text.replace(f"arn:aws:kms:us-east-1:{ACCOUNT}:key/{key}", arn)
        found = json.loads(found) if isinstance(found, str) else found
        return bool(found == json.loads(text))

    aliases = {a["AliasName"]: a.get("TargetKeyId") for a in kms.list_aliases()["Aliases"]}
    kms_arns = {
        key: f"arn:aws:kms:us-east-1:{ACCOUNT}:key/{aliases[f'alias/strongroom-{key}']}"
        for key in ("data", "audit", "logs")
    }
    roles = {role["RoleName"]: role for role in iam.list_roles()["Roles"]}
    assert set(roles) == {f"strongroom-{name}" for name in ROLES}
    for role, name in aws["role_names"].items():
        assert iam.list_role_policies(RoleName=name)["PolicyNames"] == ["strongroom"]
        assert iam.list_attached_role_policies(RoleName=name)["AttachedPolicies"] == []
        found = iam.get_role_policy(RoleName=name, PolicyName="strongroom")["PolicyDocument"]
        assert same(found, aws["role_policies"][role])
        assert same(roles[name]["AssumeRolePolicyDocument"], aws["trust_policies"][role])
        assert roles[name]["MaxSessionDuration"] == 3600
    buckets = {"data": "acme-data", "audit": "acme-audit", "logs": "acme-data-logs"}
    for bucket, name in buckets.items():
        found = s3.get_bucket_policy(Bucket=name)["Policy"]
        assert same(found, aws["bucket_policies"][bucket])
        found = kms.get_key_policy(KeyId=kms_arns[bucket], PolicyName="default")["Policy"]
        assert same(found, aws["key_policies"][bucket])
        assert kms.get_key_rotation_status(KeyId=kms_arns[bucket])["KeyRotationEnabled"]


LOCK = "module.strongroom.aws_s3_bucket_object_lock_configuration.audit"
KEYS = {f'module.strongroom.aws_kms_key.this["{key}"]' for key in ("data", "audit", "logs")}
BUCKETS = {f'module.strongroom.aws_s3_bucket.this["{bucket}"]' for bucket in ("data", "audit")}


@pytest.mark.parametrize(
    ("options", "named"),
    [
        # Once the lock is refused, Terraform says no more of the buckets that it depends on.
        (["-destroy"], {LOCK, *KEYS}),
        # As when a bucket gets another name.
        ([f"-replace={bucket}" for bucket in sorted(BUCKETS)], BUCKETS),
    ],
    ids=["destroy", "replace"],
)
def test_as_shipped_keys_and_buckets_are_not_destroyed(applied, example, options, named):
    """It is the plan that is refused, so no policy, no encryption and no key goes either."""
    code, text = example.run("plan", "-no-color", *options, *VARIABLES)
    assert code == 1
    refused = re.findall(r"Resource\s+(\S+)\s+has\s+lifecycle\.prevent_destroy\s+set", text)
    assert set(refused) == named, text


def test_a_token_gets_a_session_of_a_role(applied):
    """The request that a lease makes (moto does not look at token or session policy)."""
    outputs, moto = applied
    answer = client(moto, "sts").assume_role_with_web_identity(
        RoleArn=outputs["access"][1]["role"],
        RoleSessionName="strongroom-feedback-json-1",
        WebIdentityToken="e30.e30.e30",
        DurationSeconds=900,
    )
    assert answer["AssumedRoleUser"]["Arn"].startswith(
        f"arn:aws:sts::{ACCOUNT}:assumed-role/strongroom-runs/"
    )


def test_the_trail_records_objects_of_both_buckets(applied):
    _, moto = applied
    trail = client(moto, "cloudtrail")
    (found,) = trail.describe_trails()["trailList"]
    assert found["LogFileValidationEnabled"]
    assert found["IsMultiRegionTrail"]
    selectors = trail.get_event_selectors(TrailName="strongroom")["AdvancedEventSelectors"]
    starts = [
        f["StartsWith"]
        for s in selectors
        for f in s["FieldSelectors"]
        if f["Field"] == "resources.ARN"
    ]
    assert starts == [["arn:aws:s3:::acme-data/", "arn:aws:s3:::acme-audit/"]]
