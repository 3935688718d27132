"""Which prefixes of one bucket a lease opens, and the session policy that grants them.

Nothing here can grant Delete, a bucket's root, or a wildcard. A session policy that grants nothing
would be read as "the whole role" if it were left out, so an empty scope becomes an explicit Deny.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass

from strongroom.connectors.access.errors import PolicyTooLong, ScopeTooBroad

POLICY_LIMIT_CHARS = 2048
"""AWS's limit on the plaintext of a session policy."""

_BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")
_READ_CONFIGURATION = (
    "s3:GetBucketLocation",
    "s3:GetBucketObjectLockConfiguration",
    "s3:GetBucketVersioning",
    "s3:GetEncryptionConfiguration",
)


@dataclass(frozen=True, kw_only=True)
class Scope:
    """What a lease may do in one bucket.

    ``read``: prefixes whose objects may be read and listed. ``create``: prefixes under which
    objects may be put (never deleted; overwriting is prevented by conditional requests and undone
    by versioning). ``facts``: whether the bucket's own settings may be read (region, versioning,
    Object Lock, encryption), but no object. ``history``: whether earlier versions of what may be
    read may be listed and read, too. Prefixes end in "/".

    Raises ``ScopeTooBroad`` for a bucket's root, a prefix without its trailing slash, wildcards,
    and names that could be read as another path.
    """

    bucket: str
    read: tuple[str, ...] = ()
    create: tuple[str, ...] = ()
    facts: bool = False
    history: bool = False

    def __post_init__(self) -> None:
        if not _BUCKET.fullmatch(self.bucket) or ".." in self.bucket:
            raise ScopeTooBroad(
                place="scope.bucket", expected="one bucket's name", actual=repr(self.bucket[:80])
            )
        for name in ("read", "create"):
            for prefix in getattr(self, name):
                _check_prefix(prefix, f"scope.{name}")


def _check_prefix(prefix: str, place: str) -> None:
    if prefix in ("", "/"):
        raise ScopeTooBroad(place=place, expected="a prefix", actual="the bucket's root")
    if not prefix.endswith("/"):
        raise ScopeTooBroad(place=place, expected="a trailing '/'", actual=repr(prefix[:80]))
    if any(part in ("", ".", "..") for part in prefix[:-1].split("/")):
        raise ScopeTooBroad(place=place, expected="plain path parts", actual=repr(prefix[:80]))
    if not prefix.isprintable() or any(character in "*?\\" for character in prefix):
        raise ScopeTooBroad(
            place=place, expected="no wildcard or control character", actual=repr(prefix[:80])
        )
    if len(prefix.encode()) > 1000:
        raise ScopeTooBroad(place=place, expected="at most 1000 bytes", actual="a longer prefix")


def escape(text: str) -> str:
    """``text`` as a literal inside a policy's Resource or StringLike.

    ``$`` goes first: it begins the escapes of the other two. Source: AWS IAM policy variables.
    """
    return text.replace("$", "${$}").replace("*", "${*}").replace("?", "${?}")


def session_policy(scope: Scope) -> str:
    """The scope as a session policy: compact ASCII JSON of at most 2,048 characters.

    Raises ``PolicyTooLong``. Grants read as ``s3:GetObject`` plus ``s3:ListBucket`` conditioned on
    the same prefixes; create as ``s3:PutObject`` plus what a multipart upload needs to continue or
    abort. A bucket with Object Lock needs no further right: its default retention applies.
    """
    bucket = f"arn:aws:s3:::{escape(scope.bucket)}"
    statements: list[dict[str, object]] = []
    if scope.read:
        patterns = [f"{escape(prefix)}*" for prefix in scope.read]
        reading, listed = ["s3:GetObject"], ["s3:ListBucket"]
        if scope.history:
            reading.append("s3:GetObjectVersion")
            listed.append("s3:ListBucketVersions")
        statements.append(_allow(reading, [f"{bucket}/{item}" for item in patterns]))
        listing = _allow(listed, [bucket])
        statements.append(listing | {"Condition": {"StringLike": {"s3:prefix": patterns}}})
    if scope.create:
        actions = ["s3:PutObject", "s3:AbortMultipartUpload", "s3:ListMultipartUploadParts"]
        statements.append(_allow(actions, [f"{bucket}/{escape(p)}*" for p in scope.create]))
    if scope.facts:
        statements.append(_allow(list(_READ_CONFIGURATION), [bucket]))
    if not statements:
        statements.append({"Effect": "Deny", "Action": "*", "Resource": "*"})
    policy = json.dumps(
        {"Version": "2012-10-17", "Statement": statements}, separators=(",", ":"), ensure_ascii=True
    )
    if len(policy) > POLICY_LIMIT_CHARS:
        raise PolicyTooLong(
            place=scope.bucket,
            expected=f"at most {POLICY_LIMIT_CHARS} characters",
            actual=f"{len(policy)} for {len(scope.read)} + {len(scope.create)} prefixes",
        )
    return policy


def _allow(actions: list[str], resources: list[str]) -> dict[str, object]:
    return {"Effect": "Allow", "Action": actions, "Resource": resources}
