"""Facts come from the store's answers; what it does not say is unknown, never good."""

from __future__ import annotations

import secrets

import pytest

from strongroom.connectors.access.credentials import S3Credentials
from strongroom.connectors.buckets.errors import (
    BucketUnreachable,
    CredentialsMissing,
    CredentialsRefused,
    EndpointRefused,
)
from strongroom.connectors.buckets.facts import BucketFacts, bucket_facts
from strongroom.connectors.buckets.uri import parse


def facts(seaweed, bucket, credentials=None):
    return bucket_facts(
        parse(f"s3://{bucket}/"), credentials or seaweed.credentials, seaweed.endpoint
    )


def test_a_plain_bucket(seaweed, s3_store):
    assert facts(seaweed, s3_store.location.bucket) == BucketFacts(
        exists=True, region="us-east-1", versioned=False, object_lock=False
    )


def test_a_versioned_and_encrypted_bucket(seaweed, s3_store):
    name = s3_store.location.bucket
    client = seaweed.client()
    client.put_bucket_versioning(Bucket=name, VersioningConfiguration={"Status": "Enabled"})
    rule = {"ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "AES256"}}
    client.put_bucket_encryption(Bucket=name, ServerSideEncryptionConfiguration={"Rules": [rule]})
    found = facts(seaweed, name)
    assert found.versioned is True
    assert found.encryption == "AES256"
    client.put_bucket_versioning(Bucket=name, VersioningConfiguration={"Status": "Suspended"})
    assert facts(seaweed, name).versioned is False


@pytest.mark.parametrize(
    ("retention", "mode", "days"),
    [
        (None, None, None),
        ({"Mode": "COMPLIANCE", "Days": 1}, "COMPLIANCE", 1),
        ({"Mode": "GOVERNANCE", "Years": 2}, "GOVERNANCE", 730),
    ],
)
def test_object_lock(seaweed, retention, mode, days):
    name = f"lock-{secrets.token_hex(6)}"
    client = seaweed.client()
    client.create_bucket(Bucket=name, ObjectLockEnabledForBucket=True)
    if retention:
        client.put_object_lock_configuration(
            Bucket=name,
            ObjectLockConfiguration={
                "ObjectLockEnabled": "Enabled",
                "Rule": {"DefaultRetention": retention},
            },
        )
    found = facts(seaweed, name)
    assert (found.versioned, found.object_lock) == (True, True)
    assert (found.lock_mode, found.lock_days) == (mode, days)
    assert found.unknown == {}


def test_a_missing_bucket_has_no_facts(seaweed):
    assert facts(seaweed, "no-such-bucket-here") == BucketFacts(exists=False)


def test_denied_questions_are_unknown_and_never_good(seaweed, s3_store):
    found = facts(seaweed, s3_store.location.bucket, seaweed.reader_credentials)
    names = {
        "exists", "region", "versioned", "object_lock", "lock_mode", "lock_days", "encryption"
    }  # fmt: skip
    assert set(found.unknown) == names
    assert not any(getattr(found, name) for name in names)


def test_other_stores_are_not_asked():
    found = bucket_facts(parse("local:///srv/bucket/"))
    assert found.exists is None
    assert "versioned" in found.unknown


def test_bad_credentials_are_an_error(seaweed, s3_store):
    good = seaweed.credentials()
    bad = S3Credentials(good.access_key, "w" * 40, None, good.expires_at)
    with pytest.raises(CredentialsRefused):
        facts(seaweed, s3_store.location.bucket, lambda: bad)
    with pytest.raises(CredentialsMissing):
        bucket_facts(s3_store.location, None, seaweed.endpoint)


def test_an_unreachable_store_is_an_error(seaweed):
    with pytest.raises(BucketUnreachable):
        bucket_facts(parse("s3://acme-data/"), seaweed.credentials, "http://127.0.0.1:1")
    with pytest.raises(EndpointRefused):
        bucket_facts(parse("s3://acme-data/"), seaweed.credentials, "http://192.0.2.1")
