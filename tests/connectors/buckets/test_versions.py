"""Earlier versions and delete markers.

On SeaweedFS: fake-gcs-server keeps none of what is written over, and is asked for the present ones.
"""

from __future__ import annotations

import hashlib
from typing import Any

import pytest

from strongroom.connectors.buckets.bucket import ObjectVersion
from strongroom.connectors.buckets.errors import (
    BucketMissing,
    ObjectMissing,
    ObjectTooLarge,
    UriInvalid,
)
from strongroom.connectors.buckets.uri import parse


def md5(data: bytes) -> str:
    return hashlib.md5(data, usedforsecurity=False).hexdigest()


@pytest.fixture
def versioned(s3_store: Any, seaweed: Any) -> Any:
    seaweed.client().put_bucket_versioning(
        Bucket=s3_store.location.bucket, VersioningConfiguration={"Status": "Enabled"}
    )
    return s3_store


BODIES = (b"first", b"second", b"the third", b"first")


def rewrite(store: Any, name: str) -> None:
    bucket, key = store.bucket, store.key(name)
    etag = bucket.create(key, BODIES[0])
    for body in BODIES[1:]:
        etag = bucket.replace(key, body, etag)


def found(store: Any, prefix: str = "") -> dict[str, list[ObjectVersion]]:
    versions: dict[str, list[ObjectVersion]] = {}
    for each in store.bucket.versions(store.key(prefix) if prefix else store.location.key):
        versions.setdefault(each.key, []).append(each)
    return versions


def test_every_version_is_listed_newest_first_and_can_be_read(versioned):
    rewrite(versioned, "log/checkpoint")
    versioned.bucket.create(versioned.key("log/tile/0"), b"tile")
    versioned.bucket.create(versioned.key("other/x"), b"x")
    versions = found(versioned, "log/")
    checkpoint = versioned.key("log/checkpoint")
    assert list(versions) == [checkpoint, versioned.key("log/tile/0")]
    listed = versions[checkpoint]
    assert [each.current for each in listed] == [True, False, False, False]
    assert not any(each.deleted for each in listed)
    assert [each.size_bytes for each in listed] == [len(body) for body in BODIES[::-1]]
    assert [each.etag.strip('"') for each in listed] == [md5(body) for body in BODIES[::-1]]
    assert len({each.version for each in listed}) == len(BODIES)
    bucket = versioned.bucket
    read = [bucket.get_version(checkpoint, each.version) for each in listed]
    assert read == list(BODIES[::-1])


def test_a_version_that_there_is_not_is_missing(versioned):
    rewrite(versioned, "a")
    rewrite(versioned, "b")
    key, other = versioned.key("a"), versioned.key("b")
    theirs = found(versioned)[other][0].version
    for name, version in ((key, "0" * 16), (key, theirs), (versioned.key("c"), theirs)):
        with pytest.raises(ObjectMissing):
            versioned.bucket.get_version(name, version)


def test_a_version_larger_than_asked_for_is_not_read(versioned):
    rewrite(versioned, "a")
    key = versioned.key("a")
    (_, third, *_) = found(versioned)[key]
    assert versioned.bucket.get_version(key, third.version, 9) == b"the third"
    with pytest.raises(ObjectTooLarge):
        versioned.bucket.get_version(key, third.version, 8)


def test_a_delete_marker_is_told_and_hides_nothing(versioned, seaweed):
    rewrite(versioned, "a")
    key = versioned.key("a")
    seaweed.client().delete_object(Bucket=versioned.location.bucket, Key=key)
    with pytest.raises(ObjectMissing):
        versioned.bucket.get(key)
    marker, *rest = found(versioned)[key]
    assert (marker.current, marker.deleted, marker.size_bytes, marker.etag) == (True, True, 0, "")
    assert [each.current for each in rest] == [False] * len(BODIES)
    assert versioned.bucket.get_version(key, rest[0].version) == BODIES[-1]
    versioned.bucket.create(key, b"again")
    first, *others = found(versioned)[key]
    assert (first.current, first.deleted) == (True, False)
    assert sum(each.deleted for each in others) == 1  # listed times are whole seconds


def test_many_versions_come_in_pages(versioned, seaweed, monkeypatch):
    """One key's versions over several pages, and markers among them, stay in order."""
    client, name = seaweed.client(), versioned.location.bucket
    for number in range(6):
        for key in ("a", "b"):
            client.put_object(Bucket=name, Key=key, Body=bytes([number]) * (number + 1))
    bucket = versioned.bucket
    ask = bucket._boto
    asked = []

    def in_pages_of_four(place: str, operation: str, **arguments: object) -> Any:
        asked.append(arguments)
        return ask(place, operation, **arguments, MaxKeys=4)

    monkeypatch.setattr(bucket, "_boto", in_pages_of_four)
    listed = [(each.key, each.size_bytes) for each in bucket.versions("")]
    assert listed == [(key, size) for key in ("a", "b") for size in range(6, 0, -1)]
    assert len(asked) > 2


def test_another_version_is_not_given_in_its_place(gs_store):
    """Though this server would: it takes generation 0 for none at all."""
    rewrite(gs_store, "a")
    with pytest.raises(ObjectMissing, match="expected version 0"):
        gs_store.bucket.get_version(gs_store.key("a"), "0")


def test_where_no_versions_are_kept_there_is_one(store):
    rewrite(store, "a")
    key = store.key("a")
    (only,) = [each for each in found(store)[key] if each.current]
    assert not only.deleted
    assert only.size_bytes == len(BODIES[-1])
    assert store.bucket.get_version(key, only.version) == BODIES[-1]


def test_a_folder_keeps_the_present_one_only(local_store):
    rewrite(local_store, "a")
    key = local_store.key("a")
    (only,) = found(local_store)[key]
    assert (only.version, only.current) == ("", True)
    with pytest.raises(ObjectMissing):
        local_store.bucket.get_version(key, "1")


def test_a_prefix_ends_in_a_slash(store):
    with pytest.raises(UriInvalid):
        list(store.bucket.versions(store.key("log")))


@pytest.mark.parametrize("kind", ["s3_store", "gs_store"])
def test_a_missing_bucket_is_told(kind, request):
    store = request.getfixturevalue(kind)
    where = parse(f"{store.location.scheme}://there-is-no-such-bucket/")
    with pytest.raises(BucketMissing):
        list(store.open(where).versions(""))
