"""What was found outside the run file before planning: datasets, model, code, buckets, keys.

Facts are collected by the broker and by the controller's own process and are plain data here.
The run file cannot state them, so policy can trust them as far as it trusts their collectors.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from strongroom.crypto.digests import Sha256, digest_of
from strongroom.crypto.manifest import DatasetManifest
from strongroom.enclave.channel.capacity import Limits


class DatasetFacts(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One dataset, whose manifest's signature was checked."""

    manifest: DatasetManifest
    manifest_sha256: Sha256
    """Of the whole signed envelope, as stored."""
    manifest_bytes: int
    """Size of the envelope."""
    signer: str
    """The key that signed it: ``ed25519:<base64>``."""


class ModelFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One file of the base model; ``name`` is relative to the model's prefix."""

    name: str
    size_bytes: int
    sha256: Sha256


class ModelFacts(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The base model as it is in the bucket."""

    files: tuple[ModelFile, ...]


class EvaluatorFacts(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The evaluator: a source file, or a sealed one by its manifest."""

    name: str
    sha256: Sha256
    """Of the source, or of the sealed one's signed envelope."""
    size_bytes: int
    """Of the source."""
    sealed: DatasetFacts | None = None


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


class Facts(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Everything that ``build_plan`` needs beside the run file."""

    train: DatasetFacts
    held_out: DatasetFacts
    model: ModelFacts
    evaluator: EvaluatorFacts
    code: CodeFacts
    policy: PolicyFacts
    data_bucket: BucketFacts
    outputs_bucket: BucketFacts
    audit_bucket: BucketFacts
    kms: KmsFacts
    bfloat16: bool
    """Whether the processor has instructions for bfloat16."""
    limits: Limits
    """What may leave the enclave."""
    capacity_bits: int
    """What numbers and digests could carry out of one enclave; see ``enclave.channel.frames``."""


def model_digest(files: tuple[ModelFile, ...]) -> Sha256:
    """The digest that ``spec.model.digest`` pins: over names, sizes and SHA-256, sorted by name."""
    return digest_of(
        {
            "kind": "model",
            "version": 1,
            "files": sorted(msgspec.to_builtins(files), key=lambda file: str(file["name"])),
        }
    )
