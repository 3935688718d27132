"""What only S3 has: multipart conditions, locked buckets, roles, sessions that end."""

from __future__ import annotations

import secrets
import threading
import time
import tracemalloc
from datetime import UTC, datetime, timedelta

import obstore
import pytest
from obstore.store import S3Store

from strongroom.connectors.access.credentials import S3Credentials
from strongroom.connectors.buckets import s3
from strongroom.connectors.buckets.errors import (
    AccessDenied,
    CredentialsRefused,
    ObjectExists,
    ObjectTooLarge,
)
from strongroom.connectors.buckets.open import open_bucket
from strongroom.connectors.buckets.uri import parse

MIB = 1 << 20


@pytest.fixture
def multipart(monkeypatch):
    """Send in parts what would be one put otherwise."""
    monkeypatch.setattr(s3, "PUT_BYTES", 6 * MIB)


def test_of_8_racing_multipart_creates_one_wins(s3_store, multipart):
    bucket, barrier = s3_store.bucket, threading.Barrier(8)
    bucket.create("warm", b"")
    winners: list[tuple[int, str]] = []
    losses: list[BaseException] = []

    def write(number: int) -> None:
        barrier.wait()
        try:
            etag = bucket.create("large", (bytes([number]) * MIB for _ in range(10)))
            winners.append((number, etag))
        except BaseException as error:
            losses.append(error)

    threads = [threading.Thread(target=write, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [type(loss) for loss in losses] == [ObjectExists] * 7
    [(number, etag)] = winners
    assert bucket.head("large").etag == etag
    assert b"".join(bucket.stream("large")) == bytes([number]) * 10 * MIB


def test_without_the_condition_a_multipart_write_does_overwrite(s3_store, seaweed):
    """The control: the very upload that ``create`` makes, less ``If-None-Match``, overwrites."""
    name = s3_store.location.bucket
    s3_store.bucket.create("k", b"first")
    current = seaweed.credentials()
    store = S3Store(
        name,
        config={"endpoint": seaweed.endpoint, "region": "us-east-1"},
        client_options={"allow_http": True},
        credential_provider=lambda: {
            "access_key_id": current.access_key,
            "secret_access_key": current.secret_key,
            "token": None,
            "expires_at": None,
        },
    )
    obstore.put(store, "k", b"second" * MIB, use_multipart=True)
    assert s3_store.bucket.get_range("k", 0, 6) == b"second"


def test_an_upload_that_was_overwritten_is_told_so(s3_store, seaweed, multipart, monkeypatch):
    """SeaweedFS can let two completions win; the first one then finds the other's object."""
    bucket, name = s3_store.bucket, s3_store.location.bucket
    send = type(bucket)._boto

    def overwritten(self, key, operation, **arguments):
        answer = send(self, key, operation, **arguments)
        if operation == "complete_multipart_upload":
            seaweed.client().put_object(Bucket=name, Key=key, Body=b"the other one")
        return answer

    monkeypatch.setattr(type(bucket), "_boto", overwritten)
    with pytest.raises(ObjectExists):
        bucket.create("k", bytes(20 * MIB))


def test_a_writer_without_read_access_can_send_parts(s3_store, seaweed, multipart):
    writer = open_bucket(
        s3_store.location, credentials=seaweed.writer_credentials, endpoint=seaweed.endpoint
    )
    with pytest.raises(AccessDenied):
        writer.head("k")
    etag = writer.create("k", bytes(20 * MIB))
    assert s3_store.bucket.head("k").etag == etag
    with pytest.raises(ObjectExists):
        writer.create("k", bytes(20 * MIB))


def uploads(seaweed, name):
    return seaweed.client().list_multipart_uploads(Bucket=name).get("Uploads", [])


def test_a_broken_upload_is_aborted(s3_store, seaweed, multipart):
    def broken():
        for _ in range(30):
            yield bytes(MIB)
        seen.extend(uploads(seaweed, s3_store.location.bucket))
        raise KeyboardInterrupt

    seen: list[object] = []
    with pytest.raises(KeyboardInterrupt):
        s3_store.bucket.create("k", broken())
    assert len(seen) == 1
    assert uploads(seaweed, s3_store.location.bucket) == []


def test_a_lost_race_is_aborted(s3_store, seaweed, multipart):
    def late():
        for _ in range(20):
            yield bytes(MIB)
        s3_store.bucket.create("k", b"the other one")

    with pytest.raises(ObjectExists):
        s3_store.bucket.create("k", late())
    assert uploads(seaweed, s3_store.location.bucket) == []
    assert s3_store.bucket.get("k")[0] == b"the other one"


def test_too_many_parts_are_refused(s3_store, seaweed, monkeypatch, multipart):
    monkeypatch.setattr(s3, "MAX_PARTS", 2)
    with pytest.raises(ObjectTooLarge):
        s3_store.bucket.create("k", bytes(20 * MIB))
    assert uploads(seaweed, s3_store.location.bucket) == []


def test_a_locked_bucket_takes_creates_and_keeps_versions(seaweed, multipart):
    name = f"lock-{secrets.token_hex(6)}"
    client = seaweed.client()
    client.create_bucket(Bucket=name, ObjectLockEnabledForBucket=True)
    retention = {"Mode": "COMPLIANCE", "Days": 1}
    client.put_object_lock_configuration(
        Bucket=name,
        ObjectLockConfiguration={
            "ObjectLockEnabled": "Enabled",
            "Rule": {"DefaultRetention": retention},
        },
    )
    bucket = open_bucket(
        parse(f"s3://{name}/"), credentials=seaweed.credentials, endpoint=seaweed.endpoint
    )
    etag = bucket.create("small", b"one")
    bucket.create("large", bytes(20 * MIB))
    assert client.head_object(Bucket=name, Key="large")["ObjectLockMode"] == "COMPLIANCE"
    with pytest.raises(ObjectExists):
        bucket.create("large", bytes(20 * MIB))
    bucket.replace("small", b"two", etag)
    versions = client.list_object_versions(Bucket=name, Prefix="small")["Versions"]
    assert len(versions) == 2


def test_puts_carry_a_checksum(s3_store, seaweed):
    s3_store.bucket.create("k", b"data")
    found = seaweed.client().head_object(
        Bucket=s3_store.location.bucket, Key="k", ChecksumMode="ENABLED"
    )
    assert found["ChecksumSHA256"]


def test_a_role_that_may_not_is_told_so(seaweed, s3_store, multipart):
    s3_store.bucket.create("k", b"data")
    denied = open_bucket(
        s3_store.location, credentials=seaweed.reader_credentials, endpoint=seaweed.endpoint
    )
    for act in (
        lambda: denied.head("k"),
        lambda: denied.get("k"),
        lambda: denied.get_range("k", 0, 1),
        lambda: denied.stream("k"),
        lambda: denied.create("new", b""),
        lambda: denied.create("new", bytes(20 * MIB)),
        lambda: denied.replace("k", b"", '"etag"'),
        lambda: list(denied.list("")),
    ):
        with pytest.raises(AccessDenied):
            act()
    assert s3_store.bucket.get("k")[0] == b"data"


def test_unknown_and_wrong_credentials_are_refused(seaweed, s3_store, multipart):
    s3_store.bucket.create("k", b"data")
    right = seaweed.credentials()
    for wrong in (
        S3Credentials("AKUNKNOWN", right.secret_key, None, right.expires_at),
        S3Credentials(right.access_key, "w" * 40, None, right.expires_at),
    ):
        bucket = open_bucket(
            s3_store.location, credentials=lambda wrong=wrong: wrong, endpoint=seaweed.endpoint
        )
        for act in (
            lambda: bucket.head("k"),  # noqa: B023
            lambda: bucket.get("k"),  # noqa: B023
            lambda: bucket.create("new", b""),  # noqa: B023
            lambda: bucket.create("new", bytes(20 * MIB)),  # noqa: B023
        ):
            with pytest.raises(CredentialsRefused) as caught:
                act()
            assert wrong.secret_key not in str(caught.value)


def test_credentials_are_asked_for_again_before_they_end(seaweed, s3_store):
    right, asked = seaweed.credentials(), []

    def source(lifetime_s: int):
        def give() -> S3Credentials:
            asked.append(lifetime_s)
            expires_at = datetime.now(UTC) + timedelta(seconds=lifetime_s)
            return S3Credentials(right.access_key, right.secret_key, None, expires_at)

        return give

    for lifetime_s, times in ((900, 1), (200, 1), (60, 4)):
        asked.clear()
        bucket = open_bucket(
            s3_store.location, credentials=source(lifetime_s), endpoint=seaweed.endpoint
        )
        for number in range(4):
            bucket.create(f"{lifetime_s}/{number}", b"")
            time.sleep(0.15)  # obstore keeps what it got for 0.1 s
        assert len(asked) == times


def test_streams_take_constant_memory(s3_store):
    bucket = s3_store.bucket
    bucket.create("large", (bytes(MIB) for _ in range(96)))
    tracemalloc.start()
    try:
        total = sum(len(chunk) for chunk in bucket.stream("large"))
        _, peak_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert total == 96 * MIB
    assert peak_bytes < 12 * MIB
