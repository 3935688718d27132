"""What modules/aws allows is what `strongroom plan` lists for a run, and nothing else.

Two readings. Grants as sets: role by role, (action, resource, condition) must be the same as in the
session policies of the plan's leases and of the releaser's one for the log, with the run's folder
widened to the outputs prefix. And
requests: a matrix of them is decided by a small evaluator, once as the plan wants it and once as
the documents say it. Widened documents must fail the same assertions.

The data's owner and auditors take no part in a run; what is wanted of them stands here.
"""

from __future__ import annotations

import copy
import itertools
import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import terraform_cli
from examples_values import AWS_EXAMPLE, MODULES
from iam import Request, may

ACCOUNT = "111122223333"
S3 = "arn:aws:s3:::"
OTHER_ACCOUNT_ROLE = "arn:aws:iam::999999999999:role/strongroom-runs"
STRANGER = f"arn:aws:iam::{ACCOUNT}:role/strongroom-runs2"
OWNER = f"arn:aws:iam::{ACCOUNT}:role/strongroom-owner"
LOG = f"arn:aws:iam::{ACCOUNT}:role/strongroom-log"
(AUDITOR,) = AWS_EXAMPLE["auditor_arns"]

OBJECT_ACTIONS = (
    "s3:GetObject",
    "s3:PutObject",
    "s3:AbortMultipartUpload",
    "s3:ListMultipartUploadParts",
    "s3:GetObjectVersion",
    "s3:GetObjectAcl",
    "s3:DeleteObject",
    "s3:DeleteObjectVersion",
    "s3:PutObjectAcl",
    "s3:PutObjectTagging",
    "s3:PutObjectRetention",
    "s3:PutObjectLegalHold",
    "s3:BypassGovernanceRetention",
    "s3:RestoreObject",
)
LIST_ACTIONS = ("s3:ListBucket", "s3:ListBucketVersions")
BUCKET_ACTIONS = (
    "s3:ListBucketMultipartUploads",
    "s3:GetBucketLocation",
    "s3:GetBucketObjectLockConfiguration",
    "s3:GetBucketVersioning",
    "s3:GetEncryptionConfiguration",
    "s3:GetBucketPolicy",
    "s3:PutBucketPolicy",
    "s3:PutBucketVersioning",
    "s3:PutBucketObjectLockConfiguration",
    "s3:PutLifecycleConfiguration",
    "s3:PutEncryptionConfiguration",
    "s3:DeleteBucket",
)
KEY_ACTIONS = (
    "kms:Decrypt",
    "kms:GenerateDataKey",
    "kms:GenerateDataKeyWithoutPlaintext",
    "kms:Encrypt",
    "kms:ReEncryptFrom",
    "kms:ReEncryptTo",
    "kms:CreateGrant",
    "kms:PutKeyPolicy",
    "kms:DisableKey",
    "kms:ScheduleKeyDeletion",
)
THROUGH_S3 = {"kms:ViaService": "s3.us-east-1.amazonaws.com"}
KEYS = (
    "datasets/feedback/train/manifest.json",
    "datasets/feedback/train/shard-00000.sealed",
    "datasets/feedback/held-out/manifest.json",
    "datasets/feedback/trainer/manifest.json",
    "datasets/feedback/train",
    "datasets/private/manifest.json",
    "models/smollm2-135m-instruct/model.safetensors",
    "models/other/model.safetensors",
    "evaluators/mine/manifest.json",
    "runs/feedback-json-1/plan.json",
    "runs/feedback-json-1/checkpoints/000060/adapter.sealed",
    "runs/another-run/plan.json",
    "runs-of-others/plan.json",
    "strongroom/checkpoint",
    "strongroom/tile/0/000",
    "strongroom-2/checkpoint",
    "top.txt",
)
LISTED = (
    None,
    "",
    "runs",
    "runs/",
    "datasets/",
    "datasets/feedback/train/",
    "models/",
    "strongroom/",
    "s",
)
BUCKETS = ("acme-data", "acme-audit", "acme-data-logs", "somebody-elses")


def grants(document: dict[str, Any]) -> set[tuple[str, str, str]]:
    """Every (action, resource, listed prefix) that a document allows; it may not deny."""
    found = set()
    for statement in document["Statement"]:
        assert statement["Effect"] == "Allow"
        condition = statement.get("Condition", {})
        assert condition == {} or list(condition) == ["StringLike"], condition
        prefixes = condition.get("StringLike", {"s3:prefix": [""]})
        assert list(prefixes) == ["s3:prefix"]
        for action, resource, prefix in itertools.product(
            statement["Action"], statement["Resource"], prefixes["s3:prefix"]
        ):
            found.add((action, resource, prefix))
    return found


def owner_grants() -> set[tuple[str, str, str]]:
    """What the data's owner needs: to read and to create below the example's `owner_prefixes`."""
    objects = ("GetObject", "AbortMultipartUpload", "ListMultipartUploadParts", "PutObject")
    settings = (
        "GetBucketLocation",
        "GetBucketObjectLockConfiguration",
        "GetBucketVersioning",
        "GetEncryptionConfiguration",
    )
    bucket, prefixes = f"{S3}acme-data", ("datasets/*", "evaluators/*", "models/*")
    return {
        *((f"s3:{action}", f"{bucket}/{p}", "") for action in objects for p in prefixes),
        *(("s3:ListBucket", bucket, prefix) for prefix in prefixes),
        *((f"s3:{action}", bucket, "") for action in settings),
    }


def wanted_grants(planned: dict[str, Any], role: str) -> set[tuple[str, str, str]]:
    """What the plan's leases of a role hold together, over all runs; or what the owner needs."""
    if role == OWNER:
        return owner_grants()
    wanted = set()
    for lease in planned["leases"]:
        if lease["role"] == role:
            wanted |= grants(lease["session_policy"])
    own, every = f"runs/{planned['run']}/", "runs/"
    return {
        (action, one.replace(own, every), other.replace(own, every))
        for action, one, other in wanted
    }


def exact(aws: dict[str, Any], planned: dict[str, Any]) -> None:
    """Fails where a role holds more or less than the plan's leases."""
    for name, role in aws["role_arns"].items():
        wanted = wanted_grants(planned, role)
        assert wanted, f"no lease uses {role}"
        held = grants(aws["role_policies"][name])
        assert held == wanted, f"{name}: more {held - wanted}, less {wanted - held}"


def requests_of(principal: str) -> Iterator[Request]:
    """S3 requests as the product sends them (conditional puts), and many that it never sends."""
    for bucket in BUCKETS:
        for action, prefix in itertools.product(LIST_ACTIONS, LISTED):
            context = {} if prefix is None else {"s3:prefix": prefix}
            yield Request(principal, action, f"{S3}{bucket}", context)
        for action in BUCKET_ACTIONS:
            yield Request(principal, action, f"{S3}{bucket}")
        for action, key in itertools.product(OBJECT_ACTIONS, KEYS):
            context = {"s3:ObjectCreationOperation": "true", "s3:if-none-match": "*"}
            yield Request(
                principal, action, f"{S3}{bucket}/{key}", context if "Put" in action else {}
            )


def decisions(aws: dict[str, Any], planned: dict[str, Any]) -> None:
    """Fails where a lease may do something else than its session policy says."""
    for lease in planned["leases"]:
        session = lease["session_policy"]
        (name,) = [name for name, arn in aws["role_arns"].items() if arn == lease["role"]]
        for request in requests_of(lease["role"]):
            bucket = request.resource.removeprefix(S3).partition("/")[0]
            of_bucket = aws["bucket_policies"].get(
                {"acme-data": "data", "acme-audit": "audit", "acme-data-logs": "logs"}.get(bucket)
            )
            wanted = may(request, [session])
            decided = may(request, [aws["role_policies"][name], session], of_bucket)
            assert decided == wanted, (
                f"{lease['purpose']}: {request} is {decided}, planned {wanted}"
            )
            if not wanted:
                continue
            assert "Delete" not in request.action
            assert request.context.get("s3:prefix", "runs/x/") not in ("", "runs", "runs/", "s")
    # Without a session policy a role reaches what any run (or the owner) may reach, and no more.
    for name, role in aws["role_arns"].items():
        widest = wanted_grants(planned, role)
        for request in requests_of(role):
            held = may(request, [aws["role_policies"][name]])
            assert held == _covered(request, widest), f"{name}: {request} is {held}"


def _covered(request: Request, held: set[tuple[str, str, str]]) -> bool:
    def fits(pattern: str, text: str) -> bool:
        if pattern.endswith("*"):
            return text.startswith(pattern[:-1])
        return text == pattern

    listed = request.context.get("s3:prefix")
    return any(
        action == request.action
        and fits(resource, request.resource)
        and (prefix == "" or (listed is not None and fits(prefix, listed)))
        for action, resource, prefix in held
    )


def key_decisions(aws: dict[str, Any], planned: dict[str, Any]) -> None:
    """Fails where a key is usable for other objects, roles or ways than the plan's leases need."""
    through_s3 = {**THROUGH_S3, "kms:CallerAccount": ACCOUNT}
    principals = (*aws["role_arns"].values(), STRANGER, OTHER_ACCOUNT_ROLE)
    for key, principal, action in itertools.product(("data", "audit"), principals, KEY_ACTIONS):
        policy = aws["key_policies"][key]
        held = wanted_grants(planned, principal)
        for bucket, name in itertools.product(BUCKETS, KEYS):
            arn = f"{S3}{bucket}/{name}"
            request = Request(
                principal, action, "key", {**through_s3, "kms:EncryptionContext:aws:s3:arn": arn}
            )
            read = _covered(Request(principal, "s3:GetObject", arn), held)
            create = _covered(Request(principal, "s3:PutObject", arn), held)
            wanted = f"acme-{key}" == bucket and (
                (action == "kms:Decrypt" and (read or create))
                or (action == "kms:GenerateDataKey" and create)
            )
            assert may(request, [], policy) == wanted, f"{key}: {request}, planned {wanted}"
            for lost in ("kms:ViaService", "kms:CallerAccount", "kms:EncryptionContext:aws:s3:arn"):
                context = {name: value for name, value in request.context.items() if name != lost}
                assert not may(Request(principal, action, "key", context), [], policy)


def auditor_decisions(aws: dict[str, Any]) -> None:
    """Fails where an auditor gets more or less than to read the log, or anybody else gets that.

    Asked without any policy of their own, so that nothing but bucket and key policies can allow.
    """
    own_buckets = {"acme-data": "data", "acme-audit": "audit", "acme-data-logs": "logs"}
    log = f"{S3}acme-audit/strongroom/"
    for principal in (AUDITOR, f"{AUDITOR}2", STRANGER):
        for request in requests_of(principal):
            bucket = request.resource.removeprefix(S3).partition("/")[0]
            if bucket not in own_buckets:
                continue
            listed = request.context.get("s3:prefix") or ""
            wanted = principal == AUDITOR and (
                (
                    request.action in ("s3:GetObject", "s3:GetObjectVersion")
                    and request.resource.startswith(log)
                )
                or (
                    request.action in LIST_ACTIONS
                    and bucket == "acme-audit"
                    and listed.startswith("strongroom/")
                )
            )
            decided = may(request, [], aws["bucket_policies"][own_buckets[bucket]])
            assert decided == wanted, f"{request} is {decided}"
        for key, action, bucket, name in itertools.product(
            ("data", "audit", "logs"), KEY_ACTIONS, BUCKETS, KEYS
        ):
            arn = f"{S3}{bucket}/{name}"
            context = {**THROUGH_S3, "kms:EncryptionContext:aws:s3:arn": arn}
            wanted = (principal, key, action) == (AUDITOR, "audit", "kms:Decrypt")
            wanted = wanted and arn.startswith(log)
            request = Request(principal, action, "key", context)
            decided = may(request, [], aws["key_policies"][key])
            assert decided == wanted, f"{key}: {request} is {decided}"
            for lost in context:
                less = {field: value for field, value in context.items() if field != lost}
                request = Request(principal, action, "key", less)
                assert not may(request, [], aws["key_policies"][key]), f"{key} without {lost}"


def test_roles_hold_exactly_what_the_plan_lists(aws, planned):
    exact(aws, planned)


def test_leases_may_do_exactly_what_their_session_policies_say(aws, planned):
    decisions(aws, planned)


def test_keys_open_exactly_the_objects_that_the_plan_lists(aws, planned):
    key_decisions(aws, planned)


def test_auditors_read_the_log_and_nothing_else(aws):
    auditor_decisions(aws)


def test_every_planned_object_can_be_written(aws, planned):
    (lease,) = [lease for lease in planned["leases"] if lease["purpose"] == "run-create"]
    documents = [aws["role_policies"]["runs"], lease["session_policy"]]
    context = {"s3:ObjectCreationOperation": "true", "s3:if-none-match": "*"}
    for uri in planned["writes"]:
        request = Request(lease["role"], "s3:PutObject", S3 + uri.removeprefix("s3://"), context)
        assert may(request, documents, aws["bucket_policies"]["data"]), uri


def test_the_access_of_a_run_file_is_the_output(aws, planned):
    assert aws["access"] == planned["access"]
    assert aws["uris"] == {"outputs": planned["outputs"], "audit": planned["audit"]}


def _add(name: str, statement: dict[str, Any]) -> Callable[[dict[str, Any]], None]:
    def widen(aws: dict[str, Any]) -> None:
        aws["role_policies"][name]["Statement"].append({"Effect": "Allow", **statement})

    return widen


def _forget_list_condition(aws: dict[str, Any]) -> None:
    for statement in aws["role_policies"]["inputs"]["Statement"]:
        statement.pop("Condition", None)


def _forget_history(aws: dict[str, Any]) -> None:
    for statement in aws["role_policies"]["audit"]["Statement"]:
        statement["Action"] = [a for a in statement["Action"] if "Version" not in a]


def _forget_create(aws: dict[str, Any]) -> None:
    statements = aws["role_policies"]["runs"]["Statement"]
    statements[:] = [s for s in statements if "s3:PutObject" not in s["Action"]]


WIDENED = {
    "delete": _add("runs", {"Action": ["s3:DeleteObject"], "Resource": [f"{S3}acme-data/runs/*"]}),
    "another dataset": _add(
        "inputs", {"Action": ["s3:GetObject"], "Resource": [f"{S3}acme-data/datasets/*"]}
    ),
    "the bucket's root": _forget_list_condition,
    "write inputs": _add(
        "inputs",
        {"Action": ["s3:PutObject"], "Resource": [f"{S3}acme-data/models/smollm2-135m-instruct/*"]},
    ),
    "a neighbour": _add("runs", {"Action": ["s3:GetObject"], "Resource": [f"{S3}acme-data/runs*"]}),
    "another bucket": _add("audit", {"Action": ["s3:GetObject"], "Resource": [f"{S3}acme-data/*"]}),
    "a run that writes the log": _add(
        "audit", {"Action": ["s3:PutObject"], "Resource": [f"{S3}acme-audit/strongroom/*"]}
    ),
    "the log beside its prefix": _add(
        "log", {"Action": ["s3:PutObject"], "Resource": [f"{S3}acme-audit/strongroom*"]}
    ),
    "the log in the data": _add(
        "log", {"Action": ["s3:GetObject"], "Resource": [f"{S3}acme-data/runs/*"]}
    ),
    "earlier versions of data": _add(
        "inputs",
        {"Action": ["s3:GetObjectVersion"], "Resource": [f"{S3}acme-data/datasets/feedback/*"]},
    ),
    "every action": _add(
        "audit", {"Action": ["s3:*"], "Resource": [f"{S3}acme-audit/strongroom/*"]}
    ),
    "too little": _forget_create,
    "no earlier versions": _forget_history,
    "the owner in runs": _add(
        "owner", {"Action": ["s3:GetObject"], "Resource": [f"{S3}acme-data/runs/*"]}
    ),
}


@pytest.mark.parametrize("widened", WIDENED)
@pytest.mark.parametrize("check", [exact, decisions])
def test_control_other_role_policies_are_noticed(aws, planned, widened, check):
    other = copy.deepcopy(aws)
    WIDENED[widened](other)
    with pytest.raises(AssertionError):
        check(other, planned)


@pytest.mark.parametrize("lost", ["ArnEquals", "StringEquals", "StringLike", "Condition", "Action"])
def test_control_other_key_policies_are_noticed(aws, planned, lost):
    other = copy.deepcopy(aws)
    for statement in other["key_policies"]["data"]["Statement"]:
        if "Condition" not in statement:
            continue
        if lost == "Condition":
            del statement["Condition"]
        elif lost == "Action":
            statement["Action"] = ["kms:*"]
        else:
            del statement["Condition"][lost]
    with pytest.raises(AssertionError):
        key_decisions(other, planned)


OTHER_AUDITORS = {
    "a put": ("AuditorsReadTheLog", {"Action": ["s3:GetObject", "s3:PutObject"]}),
    "the whole bucket": ("AuditorsReadTheLog", {"Resource": [f"{S3}acme-audit/*"]}),
    "anybody": ("AuditorsReadTheLog", {"Principal": {"AWS": "*"}}),
    "the bucket's root": ("AuditorsListTheLog", {"Condition": {}}),
    "no read": ("AuditorsReadTheLog", {"Action": []}),
    "to encrypt": (
        "AuditorsDecryptThroughS3",
        {"Action": ["kms:Decrypt", "kms:GenerateDataKey"]},
    ),
    "not through S3": (
        "AuditorsDecryptThroughS3",
        {
            "Condition": {
                "StringLike": {"kms:EncryptionContext:aws:s3:arn": [f"{S3}acme-audit/strongroom/*"]}
            }
        },
    ),
    "every object": ("AuditorsDecryptThroughS3", {"Condition": {"StringEquals": THROUGH_S3}}),
    "anybody's key": ("AuditorsDecryptThroughS3", {"Principal": {"AWS": "*"}}),
    "no key": ("AuditorsDecryptThroughS3", {"Action": []}),
}


@pytest.mark.parametrize("changed", OTHER_AUDITORS)
def test_control_other_statements_for_auditors_are_noticed(aws, changed):
    sid, change = OTHER_AUDITORS[changed]
    other = copy.deepcopy(aws)
    policies = (other["bucket_policies"]["audit"], other["key_policies"]["audit"])
    (statement,) = [s for policy in policies for s in policy["Statement"] if s["Sid"] == sid]
    statement.update(change)
    with pytest.raises(AssertionError):
        auditor_decisions(other)


EVERYTHING = {"Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]}
PUT = {"s3:ObjectCreationOperation": "true", "s3:if-none-match": "*"}
ENCRYPTION = "s3:x-amz-server-side-encryption"


@pytest.mark.parametrize(
    ("bucket", "key", "context", "passes"),
    [
        ("data", "runs/r/plan.json", PUT, True),
        ("data", "runs/r/plan.json", {"s3:ObjectCreationOperation": "true"}, False),
        ("data", "runs/r/part", {}, True),  # a part of a multipart upload
        ("data", "datasets/d/shard", {"s3:ObjectCreationOperation": "true"}, True),
        ("data", "runs/r/plan.json", PUT | {"aws:SecureTransport": "false"}, False),
        ("data", "runs/r/plan.json", PUT | {"s3:TlsVersion": "1.1"}, False),
        ("data", "runs/r/plan.json", PUT | {ENCRYPTION: "AES256"}, False),
        ("data", "runs/r/plan.json", PUT | {ENCRYPTION: "aws:kms"}, True),
        (
            "data",
            "runs/r/plan.json",
            PUT | {f"{ENCRYPTION}-aws-kms-key-id": "arn:aws:kms:us-east-1:111122223333:key/data"},
            True,
        ),
        (
            "data",
            "runs/r/plan.json",
            PUT | {f"{ENCRYPTION}-aws-kms-key-id": "arn:aws:kms:us-east-1:111122223333:key/audit"},
            False,
        ),
        ("data", "runs/r/plan.json", PUT | {f"{ENCRYPTION}-customer-algorithm": "AES256"}, False),
        ("audit", "strongroom/tile/0/000", PUT, True),
        (
            "audit",
            "strongroom/checkpoint",
            {"s3:ObjectCreationOperation": "true", "s3:if-match": "tag"},
            True,
        ),
        ("audit", "strongroom/checkpoint", {"s3:ObjectCreationOperation": "true"}, False),
    ],
)
def test_bucket_policies_refuse_unsafe_puts_by_anybody(aws, bucket, key, context, passes):
    """Asked by whoever may write there, and whose own policy allows everything."""
    asker = LOG if bucket == "audit" else STRANGER
    request = Request(asker, "s3:PutObject", f"{S3}acme-{bucket}/{key}", context)
    assert may(request, [EVERYTHING], aws["bucket_policies"][bucket]) is passes
    assert may(request, [EVERYTHING])


def the_log_s_writers(policy: dict[str, Any]) -> set[str]:
    """Who may put an object of the log, if their own policies allow everything."""
    roles = (f"arn:aws:iam::{ACCOUNT}:role/strongroom-{name}" for name in ("audit", "runs", "log"))
    askers = (*roles, f"{LOG}2", STRANGER, OTHER_ACCOUNT_ROLE, ROOT)
    swap = {"s3:ObjectCreationOperation": "true", "s3:if-match": "tag"}
    keys = ("checkpoint", "tile/0/000", "next/7", "anything")
    asked = itertools.product(askers, keys, (PUT, swap))
    return {
        who
        for who, key, context in asked
        if may(
            Request(who, "s3:PutObject", f"{S3}acme-audit/strongroom/{key}", context),
            [EVERYTHING],
            policy,
        )
    }


def test_nobody_but_its_role_writes_the_log(aws):
    assert the_log_s_writers(aws["bucket_policies"]["audit"]) == {LOG}


@pytest.mark.parametrize("value", [None, f"{LOG}*", "arn:aws:iam::111122223333:role/*"])
def test_control_another_writer_of_the_log_is_noticed(aws, value):
    other = copy.deepcopy(aws["bucket_policies"]["audit"])
    (statement,) = [s for s in other["Statement"] if s["Sid"] == "DenyOtherWritersOfTheLog"]
    if value is None:
        other["Statement"].remove(statement)
    else:
        statement["Condition"]["ArnNotEquals"]["aws:PrincipalArn"] = value
    assert the_log_s_writers(other) > {LOG}


@pytest.mark.parametrize(
    ("bucket", "key", "kept"),
    [
        ("audit", "acme-audit/strongroom/checkpoint", True),
        ("logs", f"acme-data-logs/cloudtrail/AWSLogs/{ACCOUNT}/CloudTrail/a.json.gz", True),
        ("logs", "acme-data-logs/s3/data/2026-01-01-00-00-00-A", False),
    ],
)
def test_nobody_removes_from_the_audit_log_or_the_trail(aws, bucket, key, kept):
    """Asked by somebody whose own policy allows everything."""
    for action in ("s3:DeleteObject", "s3:DeleteObjectVersion", "s3:BypassGovernanceRetention"):
        request = Request(STRANGER, action, f"{S3}{key}")
        assert may(request, [EVERYTHING], aws["bucket_policies"][bucket]) is not kept
        assert may(request, [EVERYTHING])


def test_only_the_exact_audience_and_subject_assume_a_role(aws):
    issuer = "bao.acme.example/v1/identity/oidc"
    provider = f"arn:aws:iam::{ACCOUNT}:oidc-provider/{issuer}"
    subjects = {"log": "entity-of-the-log", "owner": "entity-of-the-owner"}
    everybody = {"entity-of-the-broker", *subjects.values()}
    for role, policy in aws["trust_policies"].items():
        subject = subjects.get(role, "entity-of-the-broker")
        good = {f"{issuer}:aud": "strongroom", f"{issuer}:sub": subject}
        bad = (
            {},
            good | {f"{issuer}:aud": "elsewhere"},
            *(good | {f"{issuer}:sub": other} for other in everybody - {subject}),
            good | {f"{issuer}:sub": f"{subject}2"},
            {f"{issuer}:sub": subject},
            {f"{issuer}:aud": "strongroom"},
        )

        def assumes(context: dict[str, str], who: str = provider, policy: Any = policy) -> bool:
            return may(Request(who, "sts:AssumeRoleWithWebIdentity", "role", context), [], policy)

        assert assumes(good)
        assert not any(assumes(context) for context in bad)
        assert not assumes(good, provider + "2")


ROOT = f"arn:aws:iam::{ACCOUNT}:root"
ADMINISTRATOR = f"arn:aws:iam::{ACCOUNT}:role/key-administrator"
TRAIL = f"arn:aws:cloudtrail:us-east-1:{ACCOUNT}:trail/strongroom"


@pytest.fixture(scope="module")
def administered(tmp_path_factory):
    """The key policies where there are administrators beside the account."""
    values = {**AWS_EXAMPLE, "key_administrators": [ADMINISTRATOR]}
    data = tmp_path_factory.mktemp("administered")
    made = terraform_cli.outputs(MODULES / "aws" / "policies", data, values)
    return {key: json.loads(text) for key, text in made["key_policies"].items()}


def administrator_decisions(key_policies: dict[str, Any]) -> None:
    """Who administers a key does not use it; the account decides who reads the trail."""
    context = {
        **THROUGH_S3,
        "kms:CallerAccount": ACCOUNT,
        "kms:EncryptionContext:aws:cloudtrail:arn": TRAIL,
    }
    for who, key, action in itertools.product((ROOT, ADMINISTRATOR), key_policies, KEY_ACTIONS[:7]):
        wanted = (who, key, action) == (ROOT, "logs", "kms:Decrypt")
        decided = may(Request(who, action, "key", context), [], key_policies[key])
        assert decided == wanted, f"{key}: {action} by {who} is {decided}"
    for who, key in itertools.product((ROOT, ADMINISTRATOR), key_policies):
        assert may(Request(who, "kms:PutKeyPolicy", "key", context), [], key_policies[key])


def test_administrators_of_keys_do_not_use_them(administered):
    assert set(administered) == {"data", "audit", "logs"}
    administrator_decisions(administered)


@pytest.mark.parametrize("key", ["data", "audit", "logs"])
def test_control_an_administrator_who_uses_a_key_is_noticed(administered, key):
    other = copy.deepcopy(administered)
    use = {"Principal": {"AWS": ADMINISTRATOR}, "Action": ["kms:Decrypt"], "Resource": "*"}
    other[key]["Statement"].append({"Effect": "Allow", **use})
    with pytest.raises(AssertionError):
        administrator_decisions(other)
