"""The parts of a plan document: references that pin what is read, written, leased and held."""

from __future__ import annotations

from typing import Literal

import msgspec

from strongroom.crypto.digests import Sha256
from strongroom.crypto.manifest import WrappedKeyset
from strongroom.enclave.channel.frames import Dataset
from strongroom.pipeline.planning.facts import BucketFacts, KmsFacts, ModelFile

Precision = Literal["bfloat16", "float32"]
Purpose = Literal["facts-read", "data-read", "run-read", "run-create", "audit-append"]


class DatasetRef(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One sealed dataset, pinned by its signed manifest."""

    uri: str
    manifest_sha256: Sha256
    signer: str
    name: str
    shards: int
    records: int
    ciphertext_bytes: int
    plaintext_bytes: int
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
    size_bytes: int
    metrics: tuple[str, ...]
    timeout_s: int
    score_range: tuple[float, float] | None
    concurrency: int
    sealed: DatasetRef | None


class ObjectRef(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One object and its exact size."""

    uri: str
    size_bytes: int


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


class PlanFacts(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Facts that policy rules decide on."""

    data_bucket: BucketFacts
    outputs_bucket: BucketFacts
    audit_bucket: BucketFacts
    kms: KmsFacts
