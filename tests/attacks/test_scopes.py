"""A thief of one run's bucket credentials, and what they do not open.

Every attack runs twice on a real token service: with a session scoped to one run, which must be
refused, and with the defence off (the administrator's key), which must succeed. Without the second
half, a misspelt request would look like a defence.
"""

import base64
import json
import time
import urllib.error
import urllib.request
import uuid
from dataclasses import dataclass
from pathlib import Path

import boto3
import pytest
from botocore import UNSIGNED
from botocore.config import Config
from botocore.exceptions import ClientError
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from strongroom.connectors.access.credentials import S3Credentials
from strongroom.connectors.access.errors import IdentityTokenRefused, LeaseRefused
from strongroom.connectors.access.identity import OpenBaoTokens, VaultSession
from strongroom.connectors.access.leases import WebIdentityLeaser
from strongroom.connectors.access.scopes import Scope
from strongroom.connectors.stack.stack import admin_client, admin_credentials

DATA, AUDIT = "acme-data", "acme-audit"
OWN, OTHER = "runs/r1/", "runs/r2/"
SCOPE = Scope(bucket=DATA, read=("datasets/feedback/", OWN), create=(OWN,))
REFUSED = {"AccessDenied", "403", "InvalidAccessKeyId", "SignatureDoesNotMatch"}


@dataclass
class Arena:
    """What an attack needs: two clients' worth of targets, fresh for each attack."""

    admin: object
    nonce: str

    @property
    def own(self) -> str:
        return f"{OWN}{self.nonce}"

    @property
    def other(self) -> str:
        return f"{OTHER}{self.nonce}"


@pytest.fixture(scope="module")
def admin(embedded_stack):
    return admin_client(embedded_stack.state)


@pytest.fixture(scope="module")
def thief(embedded_stack):
    """A client with a session scoped to run r1."""
    lease = embedded_stack.leaser("broker").lease(SCOPE, 900, "attack")
    return embedded_stack.s3(lease.credentials())


@pytest.fixture
def arena(admin):
    nonce = uuid.uuid4().hex[:12]
    for key in (f"{OWN}{nonce}", f"{OTHER}{nonce}", f"datasets/private/{nonce}", f"top-{nonce}"):
        admin.put_object(Bucket=DATA, Key=key, Body=b"secret of " + key.encode())
    admin.put_object(Bucket=AUDIT, Key=f"strongroom/{nonce}", Body=b"log")
    return Arena(admin, nonce)


def expect_refused(attempt) -> str:
    with pytest.raises(ClientError) as caught:
        attempt()
    code = caught.value.response["Error"]["Code"]
    assert code in REFUSED, code
    return code


def get_other_run(s3, arena):
    return s3.get_object(Bucket=DATA, Key=arena.other)["Body"].read()


def head_other_run(s3, arena):
    return s3.head_object(Bucket=DATA, Key=arena.other)


def range_of_other_run(s3, arena):
    return s3.get_object(Bucket=DATA, Key=arena.other, Range="bytes=0-3")["Body"].read()


def old_version_of_other_run(s3, arena):
    versions = arena.admin.list_object_versions(Bucket=DATA, Prefix=arena.other)["Versions"]
    version = versions[0]["VersionId"]
    return s3.get_object(Bucket=DATA, Key=arena.other, VersionId=version)["Body"].read()


def presigned_url_for_other_run(s3, arena):
    url = s3.generate_presigned_url("get_object", Params={"Bucket": DATA, "Key": arena.other})
    try:
        return urllib.request.urlopen(url, timeout=10).read()
    except urllib.error.HTTPError as error:
        answer = {"Error": {"Code": str(error.code)}}
        raise ClientError(answer, "GetObject") from None


def other_dataset(s3, arena):
    return s3.get_object(Bucket=DATA, Key=f"datasets/private/{arena.nonce}")["Body"].read()


def top_level_object(s3, arena):
    return s3.get_object(Bucket=DATA, Key=f"top-{arena.nonce}")["Body"].read()


def other_bucket(s3, arena):
    return s3.get_object(Bucket=AUDIT, Key=f"strongroom/{arena.nonce}")["Body"].read()


def list_other_run(s3, arena):
    return s3.list_objects_v2(Bucket=DATA, Prefix=OTHER)["Contents"]


def list_other_run_v1(s3, arena):
    return s3.list_objects(Bucket=DATA, Prefix=OTHER)["Contents"]


def list_root(s3, arena):
    return s3.list_objects_v2(Bucket=DATA)["Contents"]


def list_all_runs(s3, arena):
    return s3.list_objects_v2(Bucket=DATA, Prefix="runs/", Delimiter="/")["CommonPrefixes"]


def list_own_prefix_without_slash(s3, arena):
    return s3.list_objects_v2(Bucket=DATA, Prefix="runs/r")["Contents"]


def list_versions_of_root(s3, arena):
    return s3.list_object_versions(Bucket=DATA)["Versions"]


def list_other_bucket(s3, arena):
    return s3.list_objects_v2(Bucket=AUDIT, Prefix="strongroom/")["Contents"]


def list_uploads(s3, arena):
    arena.admin.create_multipart_upload(Bucket=DATA, Key=arena.other)
    return s3.list_multipart_uploads(Bucket=DATA)["Uploads"]


def put_into_other_run(s3, arena):
    return s3.put_object(Bucket=DATA, Key=f"{arena.other}-new", Body=b"x")


def overwrite_dataset(s3, arena):
    return s3.put_object(Bucket=DATA, Key=f"datasets/private/{arena.nonce}", Body=b"x")


def put_into_own_dataset(s3, arena):
    return s3.put_object(Bucket=DATA, Key=f"datasets/feedback/{arena.nonce}", Body=b"x")


def put_at_top(s3, arena):
    return s3.put_object(Bucket=DATA, Key=f"new-{arena.nonce}", Body=b"x")


def put_into_other_bucket(s3, arena):
    return s3.put_object(Bucket=AUDIT, Key=f"strongroom/{arena.nonce}-2", Body=b"x")


def copy_from_other_run(s3, arena):
    return s3.copy_object(
        Bucket=DATA, Key=f"{arena.own}-stolen", CopySource=f"{DATA}/{arena.other}"
    )


def copy_from_other_bucket(s3, arena):
    source = f"{AUDIT}/strongroom/{arena.nonce}"
    return s3.copy_object(Bucket=DATA, Key=f"{arena.own}-stolen", CopySource=source)


def copy_into_other_run(s3, arena):
    return s3.copy_object(Bucket=DATA, Key=f"{arena.other}-put", CopySource=f"{DATA}/{arena.own}")


def part_copied_from_other_run(s3, arena):
    key = f"{arena.own}-parts"
    upload = arena.admin.create_multipart_upload(Bucket=DATA, Key=key)["UploadId"]
    return s3.upload_part_copy(
        Bucket=DATA, Key=key, UploadId=upload, PartNumber=1, CopySource=f"{DATA}/{arena.other}"
    )


def multipart_into_other_run(s3, arena):
    return s3.create_multipart_upload(Bucket=DATA, Key=f"{arena.other}-parts")


def part_into_other_runs_upload(s3, arena):
    key = f"{arena.other}-parts"
    upload = arena.admin.create_multipart_upload(Bucket=DATA, Key=key)["UploadId"]
    return s3.upload_part(Bucket=DATA, Key=key, UploadId=upload, PartNumber=1, Body=b"x")


def abort_other_runs_upload(s3, arena):
    key = f"{arena.other}-parts"
    upload = arena.admin.create_multipart_upload(Bucket=DATA, Key=key)["UploadId"]
    return s3.abort_multipart_upload(Bucket=DATA, Key=key, UploadId=upload)


def delete_own_object(s3, arena):
    return s3.delete_object(Bucket=DATA, Key=arena.own)


def delete_own_version(s3, arena):
    versions = arena.admin.list_object_versions(Bucket=DATA, Prefix=arena.own)["Versions"]
    return s3.delete_object(Bucket=DATA, Key=arena.own, VersionId=versions[0]["VersionId"])


def delete_other_object(s3, arena):
    return s3.delete_object(Bucket=DATA, Key=arena.other)


def create_bucket(s3, arena):
    return s3.create_bucket(Bucket=f"evil-{arena.nonce}")


def set_bucket_policy(s3, arena):
    statement = {
        "Effect": "Allow",
        "Principal": "*",
        "Action": "s3:GetObject",
        "Resource": f"arn:aws:s3:::{DATA}/nothing/{arena.nonce}",
    }
    policy = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    answer = s3.put_bucket_policy(Bucket=DATA, Policy=policy)
    arena.admin.delete_bucket_policy(Bucket=DATA)
    return answer


def suspend_versioning(s3, arena):
    answer = s3.put_bucket_versioning(Bucket=DATA, VersioningConfiguration={"Status": "Suspended"})
    arena.admin.put_bucket_versioning(Bucket=DATA, VersioningConfiguration={"Status": "Enabled"})
    return answer


def expire_objects_by_lifecycle(s3, arena):
    rule = {
        "ID": arena.nonce,
        "Status": "Enabled",
        "Filter": {"Prefix": f"nothing-{arena.nonce}/"},
        "Expiration": {"Days": 1},
    }
    answer = s3.put_bucket_lifecycle_configuration(
        Bucket=DATA, LifecycleConfiguration={"Rules": [rule]}
    )
    arena.admin.delete_bucket_lifecycle(Bucket=DATA)
    return answer


def tag_other_object(s3, arena):
    tags = {"TagSet": [{"Key": "a", "Value": "b"}]}
    return s3.put_object_tagging(Bucket=DATA, Key=arena.other, Tagging=tags)


def read_bucket_settings(s3, arena):
    return s3.get_bucket_versioning(Bucket=DATA)["Status"]


ATTACKS = [
    get_other_run, head_other_run, range_of_other_run, old_version_of_other_run,
    presigned_url_for_other_run, other_dataset, top_level_object, other_bucket, list_other_run,
    list_other_run_v1, list_root, list_all_runs, list_own_prefix_without_slash,
    list_versions_of_root, list_other_bucket, list_uploads, put_into_other_run, overwrite_dataset,
    put_into_own_dataset, put_at_top, put_into_other_bucket, copy_from_other_run,
    copy_from_other_bucket, copy_into_other_run, part_copied_from_other_run,
    multipart_into_other_run, part_into_other_runs_upload, abort_other_runs_upload,
    delete_own_object, delete_own_version, delete_other_object, create_bucket, set_bucket_policy,
    suspend_versioning, expire_objects_by_lifecycle,
    tag_other_object, read_bucket_settings,
]  # fmt: skip


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.__name__)
def test_a_scoped_session_is_refused_where_an_unscoped_one_succeeds(thief, admin, arena, attack):
    expect_refused(lambda: attack(thief, arena))
    assert attack(admin, arena)


def test_the_session_does_what_its_scope_grants(thief, arena):
    thief.put_object(Bucket=DATA, Key=f"{arena.own}-mine", Body=b"mine")
    assert thief.get_object(Bucket=DATA, Key=f"{arena.own}-mine")["Body"].read() == b"mine"
    listed = [o["Key"] for o in thief.list_objects_v2(Bucket=DATA, Prefix=OWN)["Contents"]]
    assert f"{arena.own}-mine" in listed
    assert all(key.startswith(OWN) for key in listed)
    upload = thief.create_multipart_upload(Bucket=DATA, Key=f"{arena.own}-p")["UploadId"]
    thief.upload_part(Bucket=DATA, Key=f"{arena.own}-p", UploadId=upload, PartNumber=1, Body=b"x")
    thief.abort_multipart_upload(Bucket=DATA, Key=f"{arena.own}-p", UploadId=upload)


def test_deleting_many_at_once_deletes_nothing(thief, admin, arena):
    request = {"Objects": [{"Key": arena.own}, {"Key": arena.other}]}
    refused = thief.delete_objects(Bucket=DATA, Delete=request)
    assert "Deleted" not in refused
    assert {error["Code"] for error in refused["Errors"]} == {"AccessDenied"}
    assert admin.get_object(Bucket=DATA, Key=arena.own)["Body"].read()
    assert admin.get_object(Bucket=DATA, Key=arena.other)["Body"].read()
    assert len(admin.delete_objects(Bucket=DATA, Delete=request)["Deleted"]) == 2


def test_listing_buckets_names_none_to_the_session(thief, admin):
    assert thief.list_buckets().get("Buckets", []) == []
    assert {DATA, AUDIT} <= {bucket["Name"] for bucket in admin.list_buckets()["Buckets"]}


@pytest.mark.parametrize(
    "path",
    ["../r2/{n}", "./../r2/{n}", "%2e%2e/r2/{n}", "..%2fr2/{n}", "x/../../r2/{n}", "/../r2/{n}"],
)
def test_dots_in_a_key_reach_no_other_run(thief, arena, path):
    key = OWN + path.format(n=arena.nonce)
    with pytest.raises(ClientError) as caught:
        thief.get_object(Bucket=DATA, Key=key)
    assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] in (400, 403, 404)
    with pytest.raises(ClientError):
        thief.put_object(Bucket=DATA, Key=OWN + "../r2/planted", Body=b"x")
    kept = arena.admin.list_objects_v2(Bucket=DATA, Prefix=OTHER)["Contents"]
    assert f"{OTHER}planted" not in [found["Key"] for found in kept]
    assert get_other_run(arena.admin, arena).startswith(b"secret")


@pytest.mark.parametrize("spoil", ["tampered token", "no token", "another secret", "spliced token"])
def test_spoilt_credentials_open_nothing(embedded_stack, arena, spoil):
    held = embedded_stack.leaser("broker").lease(SCOPE, 900, "attack").credentials()
    wide = embedded_stack.leaser("broker").lease(Scope(bucket=DATA, read=("runs/",)), 900, "attack")
    token, secret_key = held.session_token, held.secret_key
    if spoil == "tampered token":
        token = token[:-6] + ("AAAAAA" if not token.endswith("AAAAAA") else "BBBBBB")
    elif spoil == "no token":
        token = None
    elif spoil == "another secret":
        secret_key = secret_key[::-1]
    else:
        token = wide.credentials().session_token
    spoilt = S3Credentials(held.access_key, secret_key, token, held.expires_at)
    key = arena.other if spoil == "spliced token" else arena.own
    expect_refused(lambda: embedded_stack.s3(spoilt).get_object(Bucket=DATA, Key=key))
    control = wide.credentials() if spoil == "spliced token" else held
    assert embedded_stack.s3(control).get_object(Bucket=DATA, Key=key)["Body"].read()


def test_a_session_policy_cannot_widen_its_role(embedded_stack, admin, arena):
    sts = sts_client(embedded_stack)
    everything = {"Effect": "Allow", "Action": "s3:*", "Resource": "*"}
    held = sts.assume_role_with_web_identity(
        RoleArn=embedded_stack.info.roles["broker"],
        RoleSessionName="attack",
        WebIdentityToken=embedded_stack.token("broker")(),
        Policy=json.dumps({"Version": "2012-10-17", "Statement": [everything]}),
        DurationSeconds=900,
    )["Credentials"]
    wide = embedded_stack.s3(
        S3Credentials(
            held["AccessKeyId"], held["SecretAccessKey"], held["SessionToken"], held["Expiration"]
        )
    )
    assert get_other_run(wide, arena)  # the role may read all of acme-data
    for attack in (overwrite_dataset, delete_own_object, delete_own_version, other_bucket):
        expect_refused(lambda attack=attack: attack(wide, arena))
        assert attack(admin, arena)


def test_an_empty_scope_opens_nothing(embedded_stack, arena):
    lease = embedded_stack.leaser("broker").lease(Scope(bucket=DATA), 900, "attack")
    s3 = embedded_stack.s3(lease.credentials())
    expect_refused(lambda: s3.get_object(Bucket=DATA, Key=arena.own))
    expect_refused(lambda: s3.put_object(Bucket=DATA, Key=arena.own, Body=b"x"))


def test_a_session_ends(embedded_stack, arena):
    lease = embedded_stack.leaser("broker").lease(SCOPE, None, "attack")
    held = lease.credentials()
    s3 = embedded_stack.s3(held)
    assert s3.get_object(Bucket=DATA, Key=arena.own)["Body"].read()
    time.sleep(max(0.0, held.remaining_s()) + 1.5)
    with pytest.raises(ClientError) as caught:
        s3.get_object(Bucket=DATA, Key=arena.own)
    # SeaweedFS says the last of a session that is over.
    expired = {"ExpiredToken", "ExpiredTokenException", "InvalidAccessKeyId"}
    assert caught.value.response["Error"]["Code"] in expired
    renewed = embedded_stack.s3(lease.credentials())
    assert renewed.get_object(Bucket=DATA, Key=arena.own)["Body"].read()


@pytest.mark.parametrize(
    ("holder", "role"),
    [
        ("owner", "broker"),
        ("broker", "owner"),
        ("owner", "audit"),
        ("broker", "log"),
        ("log", "audit"),
    ],
)
def test_another_subject_s_token_assumes_no_role(embedded_stack, holder, role):
    stranger = WebIdentityLeaser(
        embedded_stack.token(holder),
        embedded_stack.info.sts_endpoint,
        embedded_stack.info.roles[role],
        "attack",
    )
    with pytest.raises((LeaseRefused, IdentityTokenRefused)):
        stranger.lease(Scope(bucket=DATA), 900, "attack")
    assert embedded_stack.leaser(role).lease(Scope(bucket=DATA), 900, "attack").credentials()


def test_another_audience_s_token_assumes_no_role(embedded_stack):
    """OpenBao signs a token of the right subject for somebody else: the audience is wrong."""
    owner_of_keys = VaultSession(_file(embedded_stack, "admin"))
    write = lambda path, **data: owner_of_keys.call(lambda c: c.write(path, **data))  # noqa: E731
    policy = 'path "identity/oidc/token/*" { capabilities = ["read"] }'
    kept = owner_of_keys.call(lambda c: c.sys.read_acl_policy("broker"))["data"]["policy"]
    write("identity/oidc/key/elsewhere", allowed_client_ids="elsewhere", algorithm="RS256")
    write("identity/oidc/role/elsewhere", key="elsewhere", client_id="elsewhere", ttl="5m")
    owner_of_keys.call(lambda c: c.sys.create_or_update_acl_policy("broker", policy))
    try:
        token = OpenBaoTokens(None, _file(embedded_stack, "broker"), "elsewhere")
        with pytest.raises((LeaseRefused, IdentityTokenRefused)):
            lease_with(embedded_stack, token)
    finally:
        owner_of_keys.call(lambda c: c.sys.create_or_update_acl_policy("broker", kept))
    assert lease_with(embedded_stack, embedded_stack.token("broker"))


def test_forged_tokens_assume_no_role(embedded_stack):
    true_token = embedded_stack.token("broker")()
    head, body, signature = true_token.split(".")
    claims = json.loads(_decode(body))
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)

    def signed(header: dict, payload: dict) -> str:
        data = f"{_encode(header)}.{_encode(payload)}"
        made = key.sign(data.encode(), padding.PKCS1v15(), hashes.SHA256())
        return f"{data}.{base64.urlsafe_b64encode(made).rstrip(b'=').decode()}"

    forged = {
        "own key": signed(json.loads(_decode(head)), claims),
        "no signature": f"{_encode({'alg': 'none', 'typ': 'JWT'})}.{body}.",
        "other body": f"{head}.{_encode({**claims, 'exp': claims['exp'] + 9000})}.{signature}",
        "other issuer": signed(json.loads(_decode(head)), {**claims, "iss": "http://127.0.0.1:1"}),
        "not a token": "x",
    }
    for token in forged.values():
        with pytest.raises((LeaseRefused, IdentityTokenRefused)):
            lease_with(embedded_stack, lambda token=token: token)
    assert lease_with(embedded_stack, lambda: true_token)


def test_sessions_cannot_be_chained_or_made_into_users(embedded_stack):
    held = embedded_stack.leaser("broker").lease(SCOPE, 900, "attack").credentials()
    for service, call in (
        ("sts", lambda c: c.assume_role(
            RoleArn=embedded_stack.info.roles["owner"], RoleSessionName="attack")),
        ("iam", lambda c: c.create_user(UserName="evil")),
        ("iam", lambda c: c.create_access_key(UserName="admin")),
    ):  # fmt: skip
        client = boto3.session.Session().client(
            service,
            endpoint_url=embedded_stack.info.s3_endpoint,
            region_name="us-east-1",
            aws_access_key_id=held.access_key,
            aws_secret_access_key=held.secret_key,
            aws_session_token=held.session_token,
        )
        with pytest.raises(ClientError) as caught:
            call(client)
        assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] in (403, 501)


def test_the_audit_session_appends_but_removes_and_weakens_nothing(embedded_stack, admin, arena):
    scope = Scope(bucket=AUDIT, read=("strongroom/",), create=("strongroom/",))
    reader = embedded_stack.s3(
        embedded_stack.leaser("audit").lease(scope, 900, "attack").credentials()
    )
    lease = embedded_stack.leaser("log").lease(scope, 900, "attack")
    s3 = embedded_stack.s3(lease.credentials())
    key = f"strongroom/{arena.nonce}"
    expect_refused(lambda: reader.put_object(Bucket=AUDIT, Key=key, Body=b"a run's"))
    s3.put_object(Bucket=AUDIT, Key=key, Body=b"later")
    versions = admin.list_object_versions(Bucket=AUDIT, Prefix=key)["Versions"]
    assert len(versions) == 2
    expect_refused(lambda: s3.delete_object(Bucket=AUDIT, Key=key))
    for version in versions:
        name = {"Bucket": AUDIT, "Key": key, "VersionId": version["VersionId"]}
        expect_refused(lambda name=name: s3.delete_object(**name))
        # Object Lock holds even against the administrator.
        expect_refused(
            lambda name=name: admin.delete_object(**name, BypassGovernanceRetention=True)
        )
    expect_refused(lambda: s3.get_object(Bucket=DATA, Key=arena.own))
    unlocked = f"unlocked-{arena.nonce}"
    admin.create_bucket(Bucket=unlocked)
    admin.put_bucket_versioning(Bucket=unlocked, VersioningConfiguration={"Status": "Enabled"})
    made = admin.put_object(Bucket=unlocked, Key="x", Body=b"x")["VersionId"]
    assert admin.delete_object(Bucket=unlocked, Key="x", VersionId=made)


def test_the_owner_s_session_writes_data_but_no_run(embedded_stack, arena):
    scope = Scope(bucket=DATA, read=("datasets/", "runs/"), create=("datasets/", "runs/"))
    held = embedded_stack.leaser("owner").lease(scope, 900, "attack").credentials()
    s3 = embedded_stack.s3(held)
    assert s3.put_object(Bucket=DATA, Key=f"datasets/new-{arena.nonce}", Body=b"x")
    expect_refused(lambda: s3.put_object(Bucket=DATA, Key=f"runs/r1/{arena.nonce}-x", Body=b"x"))
    expect_refused(lambda: get_other_run(s3, arena))
    expect_refused(lambda: s3.delete_object(Bucket=DATA, Key=f"datasets/new-{arena.nonce}"))


def test_unsigned_requests_open_nothing(embedded_stack, arena):
    anonymous = boto3.session.Session().client(
        "s3",
        endpoint_url=embedded_stack.info.s3_endpoint,
        region_name="us-east-1",
        config=Config(signature_version=UNSIGNED, s3={"addressing_style": "path"}),
    )
    for attack in (get_other_run, list_root, put_at_top, delete_own_object, create_bucket):
        expect_refused(lambda attack=attack: attack(anonymous, arena))
    control = embedded_stack.s3(admin_credentials(embedded_stack.state))
    assert get_other_run(control, arena)


def lease_with(embedded_stack, token):
    leaser = WebIdentityLeaser(
        token, embedded_stack.info.sts_endpoint, embedded_stack.info.roles["broker"], "attack"
    )
    return leaser.lease(Scope(bucket=DATA), 900, "attack").credentials()


def sts_client(embedded_stack):
    return boto3.session.Session().client(
        "sts",
        endpoint_url=embedded_stack.info.sts_endpoint,
        region_name="us-east-1",
        config=Config(signature_version=UNSIGNED),
    )


def _file(embedded_stack, name):
    return Path(embedded_stack.info.identities[name])


def _encode(value: dict) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()


def _decode(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
