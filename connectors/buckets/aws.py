"""What ``boto3`` and ``obstore`` need for S3: endpoint and region, and credentials valid now."""

from __future__ import annotations

import re
import threading
from typing import TYPE_CHECKING

from botocore.config import Config

from strongroom.connectors.access import boto
from strongroom.connectors.access.credentials import CredentialSource, S3Credentials
from strongroom.connectors.buckets.errors import CredentialsExpired, CredentialsMissing
from strongroom.errors import StrongroomError

if TYPE_CHECKING:
    from obstore.store import S3Credential

REUSE_ABOVE_S = 120
"""Credentials with more time left than this are used again without asking their source."""

DEFAULT_REGION = "us-east-1"
"""What requests to a store are signed for that is not AWS."""
_AWS_S3 = re.compile(r"https://s3\.([a-z]{2,4}(?:-[a-z]+)+-[0-9])\.amazonaws\.com/?")


def endpoint_and_region(endpoint: str | None) -> tuple[str | None, str]:
    """What ``endpoint`` means to S3 and STS clients: an address of its own, and a region.

    ``https://s3.<region>.amazonaws.com`` is AWS itself there, where each service has its own
    address: none is given, and the region decides. Any other address serves both services.
    """
    aws_itself = _AWS_S3.fullmatch(endpoint or "")
    return (None, aws_itself[1]) if aws_itself else (endpoint, DEFAULT_REGION)


def s3_client(credentials: S3Credentials, endpoint: str | None, region: str) -> boto.Client:
    """A client of S3 with these credentials only.

    Path-style where there is an endpoint of our own, since such stores rarely own a wildcard name.
    """
    return boto.client(
        "s3",
        endpoint_url=endpoint,
        region_name=region,
        aws_access_key_id=credentials.access_key,
        aws_secret_access_key=credentials.secret_key,
        aws_session_token=credentials.session_token,
        config=Config(
            connect_timeout=5,
            read_timeout=60,
            retries={"max_attempts": 3, "mode": "standard"},
            s3={"addressing_style": "path" if endpoint else "auto"},
        ),
    )


class CurrentCredentials:
    """Valid credentials from a source, and the reason when there are none.

    ``obstore`` asks for each request once less than 300 s remain, and puts the text of a failing
    source into its own error; so this keeps what it got for a while, and lets only ``MARK`` out.
    """

    MARK = "strongroom-no-credentials"

    def __init__(self, source: CredentialSource, place: str) -> None:
        self._source = source
        self._place = place
        self._lock = threading.Lock()
        self._current: S3Credentials | None = None
        self._failure: StrongroomError | None = None

    def __call__(self) -> S3Credential:
        """Credentials in the form that ``obstore`` asks for."""
        try:
            current = self.current()
        except StrongroomError:
            raise RuntimeError(self.MARK) from None
        return {
            "access_key_id": current.access_key,
            "secret_access_key": current.secret_key,
            "token": current.session_token,
            "expires_at": current.expires_at,
        }

    def current(self) -> S3Credentials:
        """Raises what the source raised if it is an error of ours, else ``CredentialsMissing``."""
        with self._lock:
            if self._current is None or self._current.remaining_s() < REUSE_ABOVE_S:
                try:
                    self._current = self._ask()
                except StrongroomError as error:
                    self._failure = error
                    raise
                self._failure = None
            return self._current

    def _ask(self) -> S3Credentials:
        try:
            fresh = self._source()
        except StrongroomError:
            raise
        except Exception as error:
            failed = type(error).__name__
        else:
            if fresh.remaining_s() > 0:
                return fresh
            raise CredentialsExpired(
                place=self._place,
                expected="credentials that are still valid",
                actual=f"expiry at {fresh.expires_at.isoformat(timespec='seconds')}",
            )
        raise CredentialsMissing(
            place=self._place, expected="credentials", actual=f"{failed} from their source"
        )

    def failure(self) -> StrongroomError | None:
        """Why the last question to the source brought nothing; ``None`` if it did."""
        with self._lock:
            return self._failure

    def expired(self) -> bool:
        """Whether the credentials that were last given out are past their expiry."""
        with self._lock:
            return self._current is not None and self._current.remaining_s() <= 0
