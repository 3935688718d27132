"""What a fresh embedded stack holds: keys, identities, roles and buckets.

Who may do what, in one place:

========== ============================ ===================================================
identity   at OpenBao                   at the buckets (by its OIDC token)
========== ============================ ===================================================
broker     its OIDC token               ``strongroom``: read acme-data, create under runs/;
                                        ``strongroom-audit``: read strongroom/ in acme-audit
log        its OIDC token               ``strongroom-log``: read and create there
owner      its OIDC token               ``strongroom-owner``: read and create under
                                        datasets/, evaluators/ and models/
releaser   wrap, unwrap, sign, verify   nothing
admin      keys, AppRoles, OIDC roles   nothing
========== ============================ ===================================================

Nobody may delete an object. Everything here can be run again without harm.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import hvac
import msgspec
from botocore.exceptions import ClientError
from hvac import exceptions as vault

from strongroom.connectors.access.boto import Client
from strongroom.connectors.access.identity import AppRoleFile
from strongroom.connectors.host.folders import private_folder, write_private

DATA_BUCKET = "acme-data"
AUDIT_BUCKET = "acme-audit"
AUDIENCE = "strongroom"
REGION = "us-east-1"
LOG = "strongroom/"
"""The log's prefix in the audit bucket."""
RETENTION_DAYS = 1
READY_KEY = "stack/ready"
"""An object of the data bucket that tells whether the server finds what it holds."""

ROLES = {
    "broker": "strongroom",
    "audit": "strongroom-audit",
    "log": "strongroom-log",
    "owner": "strongroom-owner",
}
"""Bucket roles by what they are for."""

OWNERS_FOLDERS = ("datasets/", "evaluators/", "models/")
"""Where the data's owner reads and creates."""

ROLE_ENTITIES = {"broker": "broker", "audit": "broker", "log": "log", "owner": "owner"}
"""Which identity may assume each role."""

WRAPPING_KEYS = ("feedback", "feedback-outputs")
SIGNING_KEYS = ("feedback-signer", "audit-log")
TOKEN_TTL = "15m"  # noqa: S105  a lifetime, not a token
OIDC_TTL = "5m"

_BUCKET_FACTS = [
    "s3:GetBucketLocation",
    "s3:GetBucketObjectLockConfiguration",
    "s3:GetBucketVersioning",
    "s3:GetEncryptionConfiguration",
]
_CREATE = ["s3:PutObject", "s3:AbortMultipartUpload", "s3:ListMultipartUploadParts"]


def bucket_policies() -> dict[str, dict[str, object]]:
    """The policy document of each bucket role, by the role's name."""
    return {
        ROLES["broker"]: _policy(DATA_BUCKET, read=("",), create=("runs/",)),
        ROLES["audit"]: _policy(AUDIT_BUCKET, read=(LOG,), create=()),
        ROLES["log"]: _policy(AUDIT_BUCKET, read=(LOG,), create=(LOG,)),
        ROLES["owner"]: _policy(DATA_BUCKET, read=OWNERS_FOLDERS, create=OWNERS_FOLDERS),
    }


def _policy(bucket: str, *, read: Sequence[str], create: Sequence[str]) -> dict[str, object]:
    arn = f"arn:aws:s3:::{bucket}"
    listing: dict[str, object] = {
        "Effect": "Allow",
        "Action": ["s3:ListBucket", "s3:ListBucketVersions"],
        "Resource": [arn],
        "Condition": {"StringLike": {"s3:prefix": [f"{prefix}*" for prefix in read]}},
    }
    if "" in read:
        del listing["Condition"]
    statements: list[dict[str, object]] = [
        {
            "Effect": "Allow",
            "Action": ["s3:GetObject", "s3:GetObjectVersion"],
            "Resource": [f"{arn}/{prefix}*" for prefix in read],
        },
        listing,
        {"Effect": "Allow", "Action": _BUCKET_FACTS, "Resource": [arn]},
    ]
    if create:
        resources = [f"{arn}/{prefix}*" for prefix in create]
        statements.append({"Effect": "Allow", "Action": _CREATE, "Resource": resources})
    return {"Version": "2012-10-17", "Statement": statements}


def vault_policies() -> dict[str, str]:
    """The OpenBao policy of each identity, by its name."""
    releaser = []
    for key in WRAPPING_KEYS:
        releaser.append(_grant(f"transit/encrypt/{key}", "update"))
        releaser.append(_grant(f"transit/decrypt/{key}", "update"))
    for key in SIGNING_KEYS:
        releaser.append(_grant(f"transit/sign/{key}", "update"))
        releaser.append(_grant(f"transit/keys/{key}", "read"))
    admin = [
        _grant("transit/keys/*", "create", "read", "update", "delete", "list"),
        _grant("transit/rewrap/*", "update"),
        _grant("auth/approle/role/*", "create", "read", "update", "delete", "list"),
        _grant("sys/policies/acl/*", "create", "read", "update", "delete", "list"),
        _grant("identity/oidc/role/*", "create", "read", "update", "delete", "list"),
        _grant("identity/oidc/key/*", "create", "read", "update", "delete", "list"),
    ]
    return {
        "broker": _grant("identity/oidc/token/broker", "read"),
        "log": _grant("identity/oidc/token/log", "read"),
        "owner": _grant("identity/oidc/token/owner", "read"),
        "releaser": "\n".join(releaser),
        "admin": "\n".join(admin),
    }


def _grant(path: str, *capabilities: str) -> str:
    quoted = ", ".join(f'"{capability}"' for capability in capabilities)
    return f'path "{path}" {{ capabilities = [{quoted}] }}'


def set_up_vault(root: hvac.Client, addr: str, identities: Path) -> dict[str, str]:
    """Make keys, policies, AppRoles and OIDC roles; write the credentials files.

    Returns the entity id (the OIDC ``sub``) of each identity that has one.
    """
    root.sys.enable_secrets_engine("transit")
    for key in WRAPPING_KEYS:
        root.secrets.transit.create_key(key, key_type="aes256-gcm96", derived=True)
    for key in SIGNING_KEYS:
        root.secrets.transit.create_key(key, key_type="ed25519")
    root.sys.enable_auth_method("approle")
    accessor = root.sys.list_auth_methods()["data"]["approle/"]["accessor"]
    root.write("identity/oidc/config", issuer=addr)
    root.write(
        "identity/oidc/key/strongroom",
        allowed_client_ids=AUDIENCE,
        algorithm="RS256",
        verification_ttl="1h",
        rotation_period="24h",
    )
    private_folder(identities)
    entities: dict[str, str] = {}
    for name, policy in vault_policies().items():
        root.sys.create_or_update_acl_policy(name, policy)
        identity = _app_role(root, addr, name)
        if name in ROLE_ENTITIES.values():
            entities[name] = _entity(root, name, identity.role_id, accessor)
            root.write(
                f"identity/oidc/role/{name}", key="strongroom", client_id=AUDIENCE, ttl=OIDC_TTL
            )
        write_private(identities / f"{name}.json", msgspec.json.encode(identity))
    return entities


def _app_role(root: hvac.Client, addr: str, name: str) -> AppRoleFile:
    root.auth.approle.create_or_update_approle(
        name,
        token_policies=[name],
        token_ttl=TOKEN_TTL,
        token_max_ttl=TOKEN_TTL,
        token_no_default_policy=False,
        token_bound_cidrs=["127.0.0.1/32"],
        secret_id_bound_cidrs=["127.0.0.1/32"],
    )
    role_id = root.auth.approle.read_role_id(name)["data"]["role_id"]
    secret_id = root.auth.approle.generate_secret_id(name)["data"]["secret_id"]
    return AppRoleFile(addr=addr, role_id=role_id, secret_id=secret_id)


def _entity(root: hvac.Client, name: str, role_id: str, accessor: str) -> str:
    entity: Any = root.secrets.identity.create_or_update_entity(name)
    entity_id = str(entity["data"]["id"])
    root.secrets.identity.create_or_update_entity_alias(role_id, entity_id, accessor)
    return entity_id


def read_public_keys(root: hvac.Client) -> dict[str, str]:
    """The signing keys' public halves as ``ed25519:<base64>``, by name."""
    keys = {}
    for name in SIGNING_KEYS:
        data = root.secrets.transit.read_key(name)["data"]
        raw = base64.b64decode(data["keys"][str(data["latest_version"])]["public_key"])
        keys[name] = "ed25519:" + base64.b64encode(raw).decode()
    return keys


def revoke(root: hvac.Client) -> None:
    """Revoke the root token. A token that is gone already is fine."""
    try:
        root.auth.token.revoke_self()
    except vault.Forbidden:
        return


def set_up_buckets(admin: Client) -> None:
    """Make the data bucket (versioned) and the audit bucket (versioned, locked for a day).

    Then read an object: after a start SeaweedFS lists objects before it finds their bytes.
    """
    _make_bucket(admin, DATA_BUCKET, locked=False)
    admin.put_bucket_versioning(Bucket=DATA_BUCKET, VersioningConfiguration={"Status": "Enabled"})
    _make_bucket(admin, AUDIT_BUCKET, locked=True)
    retention = {"Mode": "COMPLIANCE", "Days": RETENTION_DAYS}
    admin.put_object_lock_configuration(
        Bucket=AUDIT_BUCKET,
        ObjectLockConfiguration={
            "ObjectLockEnabled": "Enabled",
            "Rule": {"DefaultRetention": retention},
        },
    )
    try:
        admin.get_object(Bucket=DATA_BUCKET, Key=READY_KEY)["Body"].read()
    except ClientError as error:
        if error.response["Error"]["Code"] != "NoSuchKey":
            raise
        admin.put_object(Bucket=DATA_BUCKET, Key=READY_KEY, Body=b"ready\n")


def _make_bucket(admin: Client, name: str, *, locked: bool) -> None:
    try:
        admin.create_bucket(Bucket=name, ObjectLockEnabledForBucket=locked)
    except ClientError as error:
        if error.response["Error"]["Code"] not in (
            "BucketAlreadyOwnedByYou",
            "BucketAlreadyExists",
        ):
            raise
