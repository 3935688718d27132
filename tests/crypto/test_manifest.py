"""Manifests: strict, canonical, consistent; each way to break one has its own error."""

import base64
import copy
import json

import msgspec
import pytest

from strongroom.crypto.digests import canonical
from strongroom.crypto.errors import (
    ManifestInconsistent,
    ManifestKindWrong,
    ManifestMalformed,
    ManifestNotCanonical,
    ManifestVersionUnknown,
)
from strongroom.crypto.manifest import (
    decode_checkpoint,
    decode_dataset,
    decode_evaluator,
    decode_sealed,
    encode,
    object_ad,
    shard_ad,
    shard_identity,
)
from strongroom.errors import Exit

PLACE = "s3://acme-data/datasets/feedback/manifest.json"


def bent(manifest, path, value):
    """The canonical payload of ``manifest`` with one field set, or removed if ``value`` is ..."""
    plain = json.loads(canonical(manifest))
    *parents, last = path.split("/")
    inner = plain
    for parent in parents:
        inner = inner[int(parent)] if isinstance(inner, list) else inner[parent]
    if value is ...:
        del inner[last]
    else:
        inner[int(last) if isinstance(inner, list) else last] = value
    return canonical(plain)


def test_there_and_back(dataset, checkpoint):
    payload = encode(dataset.manifest)
    assert decode_dataset(payload, PLACE) == dataset.manifest
    assert payload == canonical(dataset.manifest)
    assert decode_checkpoint(encode(checkpoint), PLACE) == checkpoint


def test_identities(dataset):
    shard = dataset.manifest.shards[2]
    identity = b"strongroom/shard/v1\0feedback\x0042\x002\x0050"
    assert shard_ad(dataset.manifest, shard) == identity
    assert shard_identity("feedback", 42, 2, 50) == identity
    assert object_ad("first-run", 40, "adapter") == (
        b"strongroom/object/v1\0first-run\x0040\0adapter"
    )


def test_identities_cannot_be_shifted():
    with pytest.raises(ValueError, match="NUL"):
        object_ad("run\x0040", 1, "adapter")
    with pytest.raises(ValueError, match="NUL"):
        shard_identity("feedback\x0042", 1, 2, 3)


@pytest.mark.parametrize("version", [0, 2, 999])
def test_an_unknown_version_has_its_own_error(dataset, checkpoint, version):
    with pytest.raises(ManifestVersionUnknown) as caught:
        decode_dataset(bent(dataset.manifest, "version", version), PLACE)
    assert caught.value.exit_code == Exit.INTEGRITY
    assert caught.value.place == PLACE
    assert (caught.value.expected, caught.value.actual) == ("version 1", f"version {version}")
    with pytest.raises(ManifestVersionUnknown):
        decode_checkpoint(bent(checkpoint, "version", version), PLACE)


def test_a_future_version_may_have_other_fields(dataset):
    payload = b'{"kind":"dataset","parts":[],"version":2}'
    with pytest.raises(ManifestVersionUnknown):
        decode_dataset(payload, PLACE)


def test_one_kind_is_not_the_other(dataset, checkpoint):
    with pytest.raises(ManifestKindWrong) as caught:
        decode_dataset(encode(checkpoint), PLACE)
    assert (caught.value.expected, caught.value.actual) == ("dataset", "checkpoint")
    with pytest.raises(ManifestKindWrong):
        decode_checkpoint(encode(dataset.manifest), PLACE)


def sealed_evaluator(dataset):
    """A manifest of one source: the dataset's with one shard of one record."""
    shard = msgspec.structs.replace(dataset.manifest.shards[0], records=1)
    return msgspec.structs.replace(dataset.manifest, format="python", records=1, shards=(shard,))


def test_an_evaluator_is_no_dataset_and_a_dataset_no_evaluator(dataset):
    evaluator = sealed_evaluator(dataset)
    assert decode_evaluator(encode(evaluator), PLACE) == evaluator
    for decode, wrong in ((decode_dataset, evaluator), (decode_evaluator, dataset.manifest)):
        with pytest.raises(ManifestKindWrong) as caught:
            decode(encode(wrong), PLACE)
        assert caught.value.place == PLACE
    for manifest in (evaluator, dataset.manifest):
        assert decode_sealed(encode(manifest), PLACE) == manifest


def test_an_evaluator_is_one_source(dataset):
    with pytest.raises(ManifestInconsistent):
        decode_evaluator(bent(dataset.manifest, "format", "python"), PLACE)
    shard = msgspec.structs.replace(dataset.manifest.shards[0], records=2)
    two = msgspec.structs.replace(sealed_evaluator(dataset), records=2, shards=(shard,))
    with pytest.raises(ManifestInconsistent):
        decode_evaluator(canonical(two), PLACE)


HEADER_24 = base64.b64encode(b"\x18" + bytes(39)).decode()
MALFORMED = {
    "unknown field": ("note", "hello"),
    "unknown field in keyset": ("keyset/note", "hello"),
    "unknown field in shard": ("shards/1/note", "hello"),
    "missing name": ("name", ...),
    "missing version": ("version", ...),
    "missing kind": ("kind", ...),
    "missing digest": ("shards/1/sha256", ...),
    "text version": ("version", "1"),
    "another format": ("format", "parquet"),
    "empty name": ("name", ""),
    "name with slash": ("name", "../feedback"),
    "name with NUL": ("name", "feed\0back"),
    "name with newline": ("name", "feedback\n"),
    "upper-case name": ("name", "Feedback"),
    "no shards": ("shards", []),
    "shards as text": ("shards", "none"),
    "negative records": ("shards/0/records", -1),
    "fraction": ("shards/0/records", 1.5),
    "short digest": ("shards/0/sha256", "sha256:00"),
    "upper-case digest": ("shards/0/sha256", "sha256:" + "A" * 64),
    "digest with newline": ("shards/0/sha256", "sha256:" + "0" * 64 + "\n"),
    "short header": ("shards/0/header", "AAAA"),
    "object outside": ("shards/0/object", "../shard-00000.sealed"),
    "key id 0": ("keyset/key_id", 0),
    "key id 2^32": ("keyset/key_id", 1 << 32),
    "no wrapped key": ("keyset/wrapped", ""),
    "context of numbers": ("keyset/context", {"dataset": 1}),
    "null keyset": ("keyset", None),
}


@pytest.mark.parametrize("what", MALFORMED)
def test_malformed_manifests(dataset, what):
    path, value = MALFORMED[what]
    with pytest.raises(ManifestMalformed) as caught:
        decode_dataset(bent(dataset.manifest, path, value), PLACE)
    assert caught.value.place == PLACE
    assert caught.value.actual


def test_a_malformed_manifest_names_the_field(dataset):
    with pytest.raises(ManifestMalformed) as caught:
        decode_dataset(bent(dataset.manifest, "shards/0/records", -1), PLACE)
    assert "$.shards[0].records" in caught.value.actual


INCONSISTENT = {
    "shard out of order": ("shards/1/index", 2),
    "object of another shard": ("shards/1/object", "shard-00002.sealed"),
    "records do not add up": ("shards/1/records", 101),
    "total does not add up": ("records", 251),
    "impossible length": ("shards/1/size_bytes", 55),
    "length of another plaintext": ("shards/1/size_bytes", 157),
    "another plaintext length": ("shards/1/plaintext_bytes", 99),
    "another header form": ("shards/1/header", HEADER_24),
}


@pytest.mark.parametrize("what", INCONSISTENT)
def test_inconsistent_manifests(dataset, what):
    path, value = INCONSISTENT[what]
    with pytest.raises(ManifestInconsistent) as caught:
        decode_dataset(bent(dataset.manifest, path, value), PLACE)
    assert caught.value.place == (PLACE if what.endswith("add up") else f"{PLACE} shard 1")


def test_swapped_and_repeated_shards(dataset):
    shards = msgspec.to_builtins(dataset.manifest.shards)
    swapped = [shards[1], shards[0], shards[2]]
    with pytest.raises(ManifestInconsistent):
        decode_dataset(bent(dataset.manifest, "shards", swapped), PLACE)
    repeated = copy.deepcopy(shards)
    repeated[1]["header"] = repeated[0]["header"]
    with pytest.raises(ManifestInconsistent, match="every object once"):
        decode_dataset(bent(dataset.manifest, "shards", repeated), PLACE)


def test_a_header_has_one_text_form(dataset):
    """The last base64 letter has four bits that decoders ignore."""
    header = dataset.manifest.shards[0].header
    letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
    other = header[:53] + letters[letters.index(header[53]) ^ 1] + "=="
    assert base64.b64decode(other) == base64.b64decode(header)
    with pytest.raises(ManifestInconsistent):
        decode_dataset(bent(dataset.manifest, "shards/0/header", other), PLACE)


def test_only_the_canonical_bytes_are_read(dataset):
    payload = encode(dataset.manifest)
    spaced = payload.replace(b",", b", ", 1)
    doubled = payload.replace(b'"records":250', b'"records":999,"records":250')
    reordered = msgspec.json.encode(dataset.manifest)
    escaped = payload.replace(b"feedback", b"f\\u0065edback")
    for other in (spaced, doubled, reordered, escaped, payload + b"\n", b" " + payload):
        assert other != payload
        with pytest.raises(ManifestNotCanonical):
            decode_dataset(other, PLACE)


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"null",
        b"{}",
        b"[1]",
        b"\xff",
        b"{" * 100_000,
        b"[" * 100_000,
        b'{"kind":"dataset","version":1,"x":' + b"[" * 100_000,
        b'{"kind":"dataset","version":1e400}',
        b'{"kind":"dataset","version":1',
        b'{"kind":"dataset","version":1}trailing',
    ],
)
def test_what_is_no_manifest(payload):
    for decode in (decode_dataset, decode_checkpoint):
        with pytest.raises((ManifestMalformed, ManifestKindWrong)):
            decode(payload, PLACE)


CHECKPOINT_MALFORMED = {
    "unknown field": ("note", 1),
    "unknown field in object": ("objects/adapter/note", 1),
    "run outside": ("run", "../other"),
    "negative step": ("step", -1),
    "plan digest": ("plan_digest", "md5:00"),
    "text cursor": ("cursor/row", "320"),
    "object outside": ("objects/adapter/object", "../../x"),
    "role with slash": ("objects", {"a/b": None}),
    "fraction in cursor": ("cursor/row", 0.5),
}


@pytest.mark.parametrize("what", CHECKPOINT_MALFORMED)
def test_malformed_checkpoints(checkpoint, what):
    path, value = CHECKPOINT_MALFORMED[what]
    with pytest.raises(ManifestMalformed):
        decode_checkpoint(bent(checkpoint, path, value), PLACE)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("objects/adapter/size_bytes", 1),
        ("objects/adapter/header", HEADER_24),
        ("objects/adapter/object", "state.sealed"),
    ],
)
def test_inconsistent_checkpoints(checkpoint, path, value):
    with pytest.raises(ManifestInconsistent):
        decode_checkpoint(bent(checkpoint, path, value), PLACE)


def test_checkpoint_objects_are_distinct(checkpoint):
    """One header twice would be one object under two names."""
    header = checkpoint.objects["state"].header
    with pytest.raises(ManifestInconsistent, match="every object once"):
        decode_checkpoint(bent(checkpoint, "objects/adapter/header", header), PLACE)


def test_nothing_unreadable_is_encoded(dataset):
    wrong_sum = msgspec.structs.replace(dataset.manifest, records=1)
    with pytest.raises(ManifestInconsistent):
        encode(wrong_sum)
    too_big = msgspec.structs.replace(dataset.manifest, records=1 << 60)
    with pytest.raises(ManifestMalformed):
        encode(too_big)


def test_manifests_do_not_change(dataset):
    with pytest.raises(AttributeError):
        dataset.manifest.records = 1
