"""What the bucket or the KMS returned, held against the manifest."""

import pytest

from strongroom.crypto.digests import sha256
from strongroom.crypto.errors import (
    CommitmentMismatch,
    HeaderMismatch,
    KeyIdMismatch,
    ObjectDigestMismatch,
    ObjectExtended,
    ObjectTruncated,
)
from strongroom.crypto.keyset import Keyset
from strongroom.crypto.manifest import shard_ad
from strongroom.crypto.pinned import check_digest, check_keyset, check_object
from strongroom.crypto.segments import HEADER_BYTES
from strongroom.errors import Exit


def check(dataset, index, sealed):
    shard = dataset.manifest.shards[index]
    check_object(shard, size_bytes=len(sealed), header=sealed[:HEADER_BYTES])


def test_the_real_objects_pass_and_open(dataset):
    key = dataset.keyset.streaming()
    for shard in dataset.manifest.shards:
        sealed = dataset.objects[shard.object]
        check_object(shard, size_bytes=len(sealed), header=memoryview(sealed)[:HEADER_BYTES])
        check_digest(shard, sha256(sealed))
        assert len(key.open(sealed, shard_ad(dataset.manifest, shard))) == shard.plaintext_bytes


@pytest.mark.parametrize(("change", "error"), [(-1, ObjectTruncated), (1, ObjectExtended)])
def test_another_length(dataset, change, error):
    sealed = dataset.objects["shard-00001.sealed"]
    resized = (sealed + b"x")[: len(sealed) + change]
    with pytest.raises(error) as caught:
        check(dataset, 1, resized)
    assert caught.value.place == "shard-00001.sealed"
    assert caught.value.expected == f"{len(sealed)} bytes"
    assert caught.value.actual == f"{len(resized)} bytes"
    assert caught.value.exit_code == Exit.INTEGRITY


def test_another_shard_of_the_same_length(dataset):
    with pytest.raises(HeaderMismatch):
        check(dataset, 1, dataset.objects["shard-00000.sealed"])


def test_an_older_version_of_the_same_shard(dataset):
    """Sealed by the same key under the same identity: authentic, but not what is pinned."""
    shard = dataset.manifest.shards[0]
    identity, key = shard_ad(dataset.manifest, shard), dataset.keyset.streaming()
    older = bytes(key.seal(b"o" * shard.plaintext_bytes, identity))
    assert key.open(older, identity)
    with pytest.raises(HeaderMismatch):
        check(dataset, 0, older)


def test_an_older_body_under_the_pinned_header(dataset):
    shard = dataset.manifest.shards[0]
    identity, key = shard_ad(dataset.manifest, shard), dataset.keyset.streaming()
    older = bytes(key.seal(b"o" * shard.plaintext_bytes, identity))
    spliced = shard.header_bytes + older[HEADER_BYTES:]
    check(dataset, 0, spliced)
    with pytest.raises(ObjectDigestMismatch):
        check_digest(shard, sha256(spliced))
    with pytest.raises(Exception, match="SR-CRYPTO-004"):
        key.open(spliced, identity)


def test_another_digest(dataset):
    with pytest.raises(ObjectDigestMismatch) as caught:
        check_digest(dataset.manifest.shards[0], sha256(b"other"), place="adapter.sealed")
    assert caught.value.place == "adapter.sealed"


def test_the_pinned_keyset_passes(dataset):
    check_keyset(dataset.manifest.keyset, dataset.keyset)


def test_an_exchanged_key(dataset):
    with pytest.raises(CommitmentMismatch) as caught:
        check_keyset(dataset.manifest.keyset, Keyset(42, bytes(32)), place="feedback keyset")
    assert caught.value.place == "feedback keyset"
    with pytest.raises(KeyIdMismatch):
        check_keyset(dataset.manifest.keyset, Keyset(43, dataset.keyset.key))
