"""A small sound dataset and checkpoint, really sealed, whose parts tests bend."""

from types import SimpleNamespace

import pytest

from strongroom.crypto.digests import sha256
from strongroom.crypto.keyset import Keyset
from strongroom.crypto.manifest import (
    CheckpointManifest,
    DatasetManifest,
    SealedObject,
    Shard,
    WrappedKeyset,
    encode_header,
    object_ad,
    shard_identity,
    shard_name,
)
from strongroom.crypto.segments import HEADER_BYTES


@pytest.fixture(scope="session")
def dataset():
    """``keyset``, ``manifest``, and the sealed ``objects`` by name."""
    keyset = Keyset(42, bytes(range(32)))
    key, objects, shards = keyset.streaming(), {}, []
    for index, rows in enumerate([b"a" * 100, b"b" * 100, b"c" * 50]):
        sealed = bytes(key.seal(rows, shard_identity("feedback", 42, index, len(rows))))
        objects[shard_name(index)] = sealed
        shards.append(
            Shard(
                index=index,
                object=shard_name(index),
                header=encode_header(sealed[:HEADER_BYTES]),
                size_bytes=len(sealed),
                sha256=sha256(sealed),
                records=len(rows),
                plaintext_bytes=len(rows),
            )
        )
    wrapped = WrappedKeyset(
        kms="vault://transit/strongroom",
        context={"dataset": "feedback"},
        wrapped="vault:v1:AAAA",
        key_id=keyset.key_id,
        commitment=keyset.commitment(),
    )
    manifest = DatasetManifest(name="feedback", records=250, keyset=wrapped, shards=tuple(shards))
    return SimpleNamespace(keyset=keyset, manifest=manifest, objects=objects)


@pytest.fixture(scope="session")
def checkpoint():
    """A ``CheckpointManifest`` with two objects."""
    key, objects = Keyset(42, bytes(range(32))).streaming(), {}
    for name in ("adapter", "state"):
        plaintext = name.encode() * 9
        sealed = key.seal_deterministic(plaintext, object_ad("first-run", 40, name))
        objects[name] = SealedObject(
            object=f"{name}.sealed",
            size_bytes=len(sealed),
            sha256=sha256(sealed),
            plaintext_sha256=sha256(plaintext),
            header=encode_header(bytes(sealed[:HEADER_BYTES])),
        )
    return CheckpointManifest(
        run="first-run",
        step=40,
        plan_digest=sha256(b"plan"),
        objects=objects,
        cursor={"epoch": 0, "row": 320},
    )
