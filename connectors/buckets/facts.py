"""What is true of a bucket before a run: asked, never assumed.

A fact that the store does not tell is ``None`` and is named in ``unknown`` with the reason, so
that ``if facts.versioned`` is false for all that is not proved. The facts describe the moment of
the question; the bucket's owner can change it afterwards.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from strongroom.connectors.access.credentials import CredentialSource
from strongroom.connectors.buckets import aws
from strongroom.connectors.buckets.answers import from_boto
from strongroom.connectors.buckets.endpoint import check_endpoint
from strongroom.connectors.buckets.errors import (
    AccessDenied,
    BucketMissing,
    CredentialsMissing,
    ObjectMissing,
    StoreFault,
)
from strongroom.connectors.buckets.uri import Location
from strongroom.errors import StrongroomError

T = TypeVar("T")

_NOT_SET = {
    "ObjectLockConfigurationNotFoundError",
    "ServerSideEncryptionConfigurationNotFoundError",
}
"""Codes with which a store says for certain that a thing is not configured."""
_LOCK = ("object_lock", "lock_mode", "lock_days")
_OLD_REGIONS = {None: "us-east-1", "": "us-east-1", "EU": "eu-west-1"}
"""What the S3 protocol means where it does not name a region by its present name."""


@dataclass(frozen=True)
class BucketFacts:
    """Facts of one bucket. ``None`` is unknown where the name stands in ``unknown``, else absent.

    ``lock_mode`` is ``COMPLIANCE`` or ``GOVERNANCE``, with ``lock_days`` its default retention in
    days; both are ``None`` where new objects are not locked by default. ``encryption`` is the
    store's default algorithm (``AES256``, ``aws:kms`` …).
    """

    exists: bool | None = None
    region: str | None = None
    versioned: bool | None = None
    object_lock: bool | None = None
    lock_mode: str | None = None
    lock_days: int | None = None
    encryption: str | None = None
    unknown: Mapping[str, str] = field(default_factory=dict)


def bucket_facts(
    location: Location,
    credentials: CredentialSource | None = None,
    endpoint: str | None = None,
    region: str = "us-east-1",
) -> BucketFacts:
    """Ask the store about the bucket of ``location``.

    Raises ``BucketUnreachable``, ``CredentialsRefused`` and their like when nothing can be known;
    a denied question becomes an unknown fact. ``gs`` and ``local`` are not asked: all unknown.
    """
    if location.scheme != "s3":
        names = ("exists", "region", "versioned", *_LOCK, "encryption")
        return BucketFacts(unknown=dict.fromkeys(names, f"not asked of {location.scheme}"))
    if credentials is None:
        raise CredentialsMissing(place=str(location), expected="a lease", actual="none")
    if endpoint is not None:
        check_endpoint(endpoint)
    try:
        return _Questions(location, credentials, endpoint, region).ask()
    except BucketMissing:
        return BucketFacts(exists=False)


class _Questions:
    """The questions to one S3 bucket, and which of them had no answer."""

    def __init__(
        self, location: Location, credentials: CredentialSource, endpoint: str | None, region: str
    ) -> None:
        self._bucket = location.bucket
        self._place = f"s3://{location.bucket}/"
        self._endpoint = endpoint or f"https://s3.{region}.amazonaws.com"
        current = aws.CurrentCredentials(credentials, self._place).current()
        self._client = aws.s3_client(current, endpoint, region)
        self._unknown: dict[str, str] = {}

    def ask(self) -> BucketFacts:
        exists = self._fact(self._exists, "exists")
        if exists is False:
            return BucketFacts(exists=False)
        lock = self._fact(self._lock, *_LOCK)
        mode, days = _default_retention(lock or {})
        return BucketFacts(
            exists=exists,
            region=self._fact(self._region, "region"),
            versioned=self._fact(self._versioned, "versioned"),
            object_lock=None if lock is None else lock.get("ObjectLockEnabled") == "Enabled",
            lock_mode=mode,
            lock_days=days,
            encryption=self._fact(self._encryption, "encryption"),
            unknown=self._unknown,
        )

    def _exists(self) -> bool:
        try:
            self._call("head_bucket")
        except (BucketMissing, ObjectMissing):
            return False
        return True

    def _region(self) -> str:
        named = self._call("get_bucket_location").get("LocationConstraint")
        return str(_OLD_REGIONS.get(named, named))

    def _versioned(self) -> bool:
        return bool(self._call("get_bucket_versioning").get("Status") == "Enabled")

    def _lock(self) -> dict[str, Any]:
        found = self._call("get_object_lock_configuration").get("ObjectLockConfiguration")
        return dict(found or {})

    def _encryption(self) -> str | None:
        answer = self._call("get_bucket_encryption")
        rules = answer.get("ServerSideEncryptionConfiguration", {}).get("Rules", [])
        for rule in rules:
            algorithm = rule.get("ApplyServerSideEncryptionByDefault", {}).get("SSEAlgorithm")
            if algorithm:
                return str(algorithm)
        return None

    def _fact(self, question: Callable[[], T], *names: str) -> T | None:
        try:
            return question()
        except (AccessDenied, StoreFault) as error:
            self._unknown.update(dict.fromkeys(names, error.actual))
            return None

    def _call(self, operation: str) -> dict[str, Any]:
        translated: StrongroomError
        try:
            return dict(getattr(self._client, operation)(Bucket=self._bucket))
        except Exception as error:
            code = getattr(error, "response", {}).get("Error", {}).get("Code")
            if code in _NOT_SET:
                return {}
            translated = from_boto(error, self._place, self._endpoint)
        raise translated


def _default_retention(lock: Mapping[str, Any]) -> tuple[str | None, int | None]:
    """Mode and days of the rule for new objects; a year counts 365 days, as S3 counts it."""
    rule = lock.get("Rule", {}).get("DefaultRetention", {})
    mode, days, years = rule.get("Mode"), rule.get("Days"), rule.get("Years")
    if mode is None or not (days or years):
        return None, None
    return str(mode), int(days) if days else int(years) * 365
