"""Short-lived S3 credentials for exactly the prefixes that a stage needs.

A ``Scope`` says which prefixes may be read and under which new objects may be created; it becomes
the session policy of an ``AssumeRoleWithWebIdentity`` call, so the credentials hold no more than
the role *and* the scope allow. Nothing here can grant Delete, a bucket's root, or a wildcard.

A session policy that grants nothing would be read as "the whole role" if it were left out, so an
empty scope becomes an explicit Deny.
"""

from __future__ import annotations

import json
import re
import secrets
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, NoReturn

import boto3
from botocore import UNSIGNED
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError
from botocore.parsers import ResponseParserError

from connectors.access_errors import (
    AccessError,
    IdentityTokenRefused,
    LeaseRefused,
    LifetimeOutOfRange,
    PolicyTooLong,
    ScopeTooBroad,
    TokenServiceUnreachable,
)
from connectors.credentials import S3Credentials

POLICY_LIMIT_CHARS = 2048
"""AWS's limit on the plaintext of a session policy."""

SHORTEST_TTL_S = 900
LONGEST_TTL_S = 3600

EXPIRED_CODES = frozenset({"ExpiredToken", "ExpiredTokenException", "InvalidAccessKeyId"})
"""Error codes that mean "these credentials are over". SeaweedFS says ``InvalidAccessKeyId``."""

_BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")
_CODE = re.compile(r"[A-Za-z]{1,64}")
_SESSION_NAME = re.compile(r"[\w+=,.@-]{2,64}", re.ASCII)
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
    Object Lock, encryption), but no object. Prefixes end in "/".

    Raises ``ScopeTooBroad`` for a bucket's root, a prefix without its trailing slash, wildcards,
    and names that could be read as another path.
    """

    bucket: str
    read: tuple[str, ...] = ()
    create: tuple[str, ...] = ()
    facts: bool = False

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
        statements.append(_allow(["s3:GetObject"], [f"{bucket}/{item}" for item in patterns]))
        listing = _allow(["s3:ListBucket"], [bucket])
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


def means_expired(code: str) -> bool:
    """Whether an S3 error code says that the credentials are over, not that they lack a right."""
    return code in EXPIRED_CODES


@dataclass(eq=False)
class Lease:
    """Credentials for one scope and purpose, renewed before they end.

    ``credentials()`` is a ``CredentialSource``: thread safe, cached, and cheap to call before each
    request. ``issued_at`` and ``expires_at`` describe the credentials held now. ``ttl_s`` is
    ``None`` where the token service chooses the lifetime.
    """

    purpose: str
    scope: Scope
    ttl_s: int | None
    role: str
    _issue: Callable[[], S3Credentials] = field(repr=False)
    lease_id: str = field(default_factory=lambda: secrets.token_hex(8), init=False)
    issued_at: datetime = field(init=False)
    _held: S3Credentials = field(init=False, repr=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, init=False, repr=False)

    def __post_init__(self) -> None:
        self._renew()

    def __reduce__(self) -> NoReturn:
        raise TypeError("a lease does not leave the process that holds it")

    @property
    def expires_at(self) -> datetime:
        """When the credentials held now end."""
        return self._held.expires_at

    def credentials(self) -> S3Credentials:
        """Credentials that are valid now, renewed when their end is near.

        A failing renewal is ridden out while the old credentials live, so that a short outage of
        the token service does not break a transfer; after that its error is raised.
        """
        with self._lock:
            if self._held.remaining_s() < self._margin_s():
                try:
                    self._renew()
                except AccessError:
                    if self._held.remaining_s() <= 0:
                        raise
            return self._held

    def renew(self) -> S3Credentials:
        """Replace the credentials now, for when a server says that they are over."""
        with self._lock:
            self._renew()
            return self._held

    def _renew(self) -> None:
        self._held = self._issue()
        self.issued_at = datetime.now(UTC)

    def _margin_s(self) -> float:
        """A fifth of the life, at least two minutes, but never more than half of the life."""
        life_s = (self._held.expires_at - self.issued_at).total_seconds()
        return min(max(0.2 * life_s, 120.0), 0.5 * life_s)


class WebIdentityLeaser:
    """Issues leases by ``AssumeRoleWithWebIdentity``: no long-lived bucket key exists anywhere.

    ``token`` returns an OIDC token (see ``connectors.identity.OpenBaoIdentity``); ``sts_endpoint``
    is ``None`` for AWS itself; ``session_name`` shows up in the bucket's access logs.
    """

    def __init__(
        self,
        token: Callable[[], str],
        sts_endpoint: str | None,
        role_arn: str,
        session_name: str,
        region: str = "us-east-1",
    ) -> None:
        if not _SESSION_NAME.fullmatch(session_name):
            raise ValueError("session_name holds 2 to 64 of letters, digits and +=,.@_-")
        self._token = token
        self._role_arn = role_arn
        self._session_name = session_name
        self._place = sts_endpoint or f"sts.{region}.amazonaws.com"
        self._sts: Any = boto3.session.Session().client(
            "sts",
            endpoint_url=sts_endpoint,
            region_name=region,
            config=Config(
                signature_version=UNSIGNED,
                connect_timeout=5,
                read_timeout=15,
                retries={"mode": "standard", "max_attempts": 3},
            ),
        )

    def __reduce__(self) -> NoReturn:
        raise TypeError("a leaser does not leave the process that made it")

    def lease(self, scope: Scope, ttl_s: int | None, purpose: str) -> Lease:
        """Credentials for ``scope``, each issue living ``ttl_s`` seconds (900 to 3600).

        ``ttl_s=None`` leaves the lifetime to the token service. Raises ``LifetimeOutOfRange``,
        ``PolicyTooLong``, ``LeaseRefused``, ``IdentityTokenRefused``, ``TokenServiceUnreachable``,
        and what ``token`` raises.
        """
        if ttl_s is not None and not SHORTEST_TTL_S <= ttl_s <= LONGEST_TTL_S:
            raise LifetimeOutOfRange(
                place=f"lease for {purpose}",
                expected=f"{SHORTEST_TTL_S} to {LONGEST_TTL_S} seconds",
                actual=str(ttl_s),
            )
        policy = session_policy(scope)
        return Lease(purpose, scope, ttl_s, self._role_arn, lambda: self._issue(policy, ttl_s))

    def _issue(self, policy: str, ttl_s: int | None) -> S3Credentials:
        request: dict[str, Any] = {
            "RoleArn": self._role_arn,
            "RoleSessionName": self._session_name,
            "WebIdentityToken": self._token(),
            "Policy": policy,
        }
        if ttl_s is not None:
            request["DurationSeconds"] = ttl_s
        try:
            answer = self._sts.assume_role_with_web_identity(**request)["Credentials"]
        except ClientError as error:
            raise self._refusal(error) from None
        except (BotoCoreError, ResponseParserError) as error:
            raise TokenServiceUnreachable(place=self._place, actual=type(error).__name__) from None
        return S3Credentials(
            access_key=answer["AccessKeyId"],
            secret_key=answer["SecretAccessKey"],
            session_token=answer["SessionToken"],
            expires_at=answer["Expiration"],
        )

    def _refusal(self, error: ClientError) -> AccessError:
        code = str(error.response.get("Error", {}).get("Code", ""))
        actual = code if _CODE.fullmatch(code) else "an unnamed refusal"
        status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
        if code in {"InvalidIdentityToken", "ExpiredTokenException", "IDPRejectedClaim"}:
            return IdentityTokenRefused(place=self._role_arn, actual=actual)
        if status >= 500:
            return TokenServiceUnreachable(place=self._place, actual=actual)
        return LeaseRefused(place=self._role_arn, actual=actual)
