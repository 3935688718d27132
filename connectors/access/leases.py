"""Short-lived S3 credentials for exactly the prefixes that a stage needs.

A ``Scope`` becomes the session policy of an ``AssumeRoleWithWebIdentity`` call, so the credentials
hold no more than the role *and* the scope allow. They live in memory, in the process that leased
them, and are renewed before they end.
"""

from __future__ import annotations

import re
import secrets
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, NoReturn

from botocore import UNSIGNED
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError
from botocore.parsers import ResponseParserError

from strongroom.connectors.access.boto import Client, client
from strongroom.connectors.access.credentials import S3Credentials
from strongroom.connectors.access.errors import (
    AccessError,
    IdentityTokenRefused,
    LeaseRefused,
    LifetimeOutOfRange,
    TokenServiceUnreachable,
)
from strongroom.connectors.access.scopes import Scope, session_policy

SHORTEST_TTL_S = 900
LONGEST_TTL_S = 3600

_CODE = re.compile(r"[A-Za-z]{1,64}")
_SESSION_NAME = re.compile(r"[\w+=,.@-]{2,64}", re.ASCII)


@dataclass(eq=False)
class Lease:
    """Credentials for one scope and purpose, renewed before they end.

    ``credentials()`` is a ``CredentialSource``: thread safe, cached, and cheap to call before each
    request. ``issued_at`` and ``expires_at`` describe the credentials held now. ``ttl_s`` is
    ``None`` where the token service chooses the lifetime. ``on_renewal`` is called at each renewal,
    in whatever thread needed it and while others wait: it must not block.
    """

    purpose: str
    scope: Scope
    ttl_s: int | None
    role: str
    _issue: Callable[[], S3Credentials] = field(repr=False)
    on_renewal: Callable[[Lease], None] | None = field(default=None, init=False, repr=False)
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

    def _renew(self) -> None:
        self._held = self._issue()
        self.issued_at = datetime.now(UTC)
        if self.on_renewal is not None:
            self.on_renewal(self)

    def _margin_s(self) -> float:
        """A fifth of the life, at least two minutes, but never more than half of the life."""
        life_s = (self._held.expires_at - self.issued_at).total_seconds()
        return min(max(0.2 * life_s, 120.0), 0.5 * life_s)


def _token_service(endpoint: str | None, region: str) -> Client:
    """An unsigned STS client."""
    return client(
        "sts",
        # Named, since boto3 has STS at one address for all older regions, or asks the environment.
        endpoint_url=endpoint or f"https://sts.{region}.amazonaws.com",
        region_name=region,
        config=Config(
            signature_version=UNSIGNED,
            connect_timeout=5,
            read_timeout=15,
            retries={"mode": "standard", "max_attempts": 3},
            # The service judges tokens, also malformed ones.
            parameter_validation=False,
        ),
    )


class WebIdentityLeaser:
    """Issues leases by ``AssumeRoleWithWebIdentity``: no long-lived bucket key exists anywhere.

    ``token`` returns an OIDC token (see ``connectors.access.identity.OpenBaoTokens``);
    ``sts_endpoint`` is ``None`` for AWS itself; ``session_name`` shows up in the bucket's access
    logs.
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
        self._sts = _token_service(sts_endpoint, region)

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
            expires_at=answer["Expiration"].astimezone(UTC),
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
