"""The parts of a plan document: references that pin what is read, written, leased and held.

What was found outside the run file (``…Facts``) no rule can derive: each says who vouches for it.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from strongroom.crypto.digests import Sha256, sha256
from strongroom.crypto.manifest import Count, DatasetManifest, WrappedKeyset
from strongroom.enclave.channel.frames import Dataset
from strongroom.enclave.plan.objects import MANIFEST

Precision = Literal["bfloat16", "float32"]
Purpose = Literal["facts-read", "data-read", "run-read", "run-create", "audit-read", "audit-append"]


class ModelFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One file of the base model; ``name`` is relative to the model's prefix."""

    name: str
    size_bytes: Count
    sha256: Sha256


class DatasetRef(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One sealed dataset, pinned by its signed manifest."""

    uri: str
    manifest_sha256: Sha256
    signer: str
    name: str
    shards: Count
    records: Count
    ciphertext_bytes: Count
    plaintext_bytes: Count
    keyset: WrappedKeyset


class DataRefs(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The run's datasets."""

    train: DatasetRef
    held_out: DatasetRef

    def of(self, dataset: Dataset) -> DatasetRef:
        """One of them."""
        return self.train if dataset == "train" else self.held_out


class ModelRef(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The base model, pinned file by file, and the type in which it computes."""

    uri: str
    digest: Sha256
    files: tuple[ModelFile, ...]
    precision: Precision


class EvaluatorRef(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The evaluator, pinned, with the metric names that it may report.

    ``sha256`` is that of its source, or of the signed manifest when it is ``sealed``.
    """

    name: str
    sha256: Sha256
    size_bytes: Count
    metrics: tuple[str, ...]
    timeout_s: int
    score_range: tuple[float, float] | None
    concurrency: int
    sealed: DatasetRef | None


class ObjectRef(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One object and its exact size."""

    uri: str
    size_bytes: Count


class Writes(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Where objects are created, and the names that are known beforehand."""

    prefixes: tuple[str, ...]
    objects: tuple[str, ...]


class Objects(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What is read and written."""

    reads: tuple[ObjectRef, ...]
    writes: Writes


class LeaseRef(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One kind of credential: who may do what where, and for how long.

    ``read`` and ``create`` are prefixes inside the bucket and end with ``/``. Nothing else is
    granted; no lease can delete.
    """

    purpose: Purpose
    bucket: str
    role: str
    read: tuple[str, ...]
    create: tuple[str, ...]
    ttl_s: int
    endpoint: str | None = None


class KeyRefs(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """References to the customer's keys."""

    data: str
    outputs: str
    audit: str


class DatasetFacts(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A sealed input, as its signed manifest says."""

    manifest: DatasetManifest
    manifest_sha256: Sha256
    """Of the whole signed envelope, as stored."""
    manifest_bytes: int
    """Size of the envelope."""
    signer: str
    """The key that signed it: ``ed25519:<base64>``."""

    @classmethod
    def of(cls, envelope: bytes, signer: str, manifest: DatasetManifest) -> DatasetFacts:
        """From the envelope, its payload and whoever signed it."""
        return cls(
            manifest=manifest,
            manifest_sha256=sha256(envelope),
            manifest_bytes=len(envelope),
            signer=signer,
        )

    def at(self, uri: str) -> DatasetRef:
        """What a plan says of it."""
        shards = self.manifest.shards
        return DatasetRef(
            uri=uri,
            manifest_sha256=self.manifest_sha256,
            signer=self.signer,
            name=self.manifest.name,
            shards=len(shards),
            records=self.manifest.records,
            ciphertext_bytes=sum(shard.size_bytes for shard in shards),
            plaintext_bytes=sum(shard.plaintext_bytes for shard in shards),
            keyset=self.manifest.keyset,
        )

    def sizes(self, uri: str) -> dict[str, int]:
        """Its objects, by address, in bytes."""
        shards = {uri + shard.object: shard.size_bytes for shard in self.manifest.shards}
        return {uri + MANIFEST: self.manifest_bytes, **shards}


class Source(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """An evaluator's source."""

    sha256: Sha256
    size_bytes: Count


class CodeFacts(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The code that will run in the enclave."""

    measurement: str
    python: str
    packages: dict[str, str]


class PolicyFacts(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The policy bundle: its digest and the ids of its rules."""

    digest: Sha256
    rules: tuple[str, ...]


class BucketFacts(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What the provider says about a bucket. ``lock_days`` is the default retention."""

    versioned: bool
    object_lock: bool
    lock_mode: str | None = None
    lock_days: int | None = None
    region: str | None = None
    encryption: str | None = None


class KeyFacts(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What a key service answers the releaser about one key.

    ``owner`` names the service that was asked, by its address or its keyring file. A key is
    ``held`` when the releaser may put it to its use there. A service may say ``refused`` of a key
    that it lacks, so that strangers do not learn which keys there are.
    """

    owner: str
    state: Literal["held", "missing", "refused"]


class KmsFacts(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What the key services answer about the keys of a run."""

    data: KeyFacts
    outputs: KeyFacts
    audit: KeyFacts


class PlanFacts(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Facts that policy rules decide on."""

    data_bucket: BucketFacts
    outputs_bucket: BucketFacts
    audit_bucket: BucketFacts
    kms: KmsFacts
