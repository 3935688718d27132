"""Manifests: what a dataset or a checkpoint consists of, down to the last byte.

A manifest travels as the payload of a DSSE envelope (``crypto.dsse``): verify first, decode then.
It pins each object's header and length, so that a bucket can neither roll back, cut, extend nor
exchange an object, and holds the wrapped keyset with a commitment to the key.

Invariants of what the ``decode_`` functions return: the payload was the canonical (RFC 8785) form
of exactly these fields; lengths are possible, counts add up, no object or header occurs twice, and
names hold nothing but lower-case letters, digits, ``.``, ``_`` and ``-``, so they are safe in
object keys and in the identities that ``shard_ad`` and ``object_ad`` build.

Not here: whether the objects in the bucket are those pinned (``crypto.pinned``), and who may sign.
"""

from __future__ import annotations

import base64
from typing import Annotated, Literal, TypeVar

import msgspec
from msgspec import Meta

from strongroom.crypto import segments
from strongroom.crypto.digests import SHA256_PATTERN, Sha256, canonical
from strongroom.crypto.errors import (
    LengthImpossible,
    ManifestInconsistent,
    ManifestKindWrong,
    ManifestMalformed,
    ManifestNotCanonical,
    ManifestVersionUnknown,
    NotCanonical,
)
from strongroom.crypto.keyset import MAX_KEY_ID
from strongroom.errors import bounded_json

VERSION = 1
DATASET_TYPE = "application/vnd.strongroom.dataset+json"
SOURCE_FORMAT = "python"
CHECKPOINT_TYPE = "application/vnd.strongroom.checkpoint+json"

MAX_INTEGER = (1 << 53) - 1
"""The largest integer that every JSON reader reads exactly (RFC 8785)."""

Count = Annotated[int, Meta(ge=0, le=MAX_INTEGER)]
Name = Annotated[str, Meta(pattern=r"^[a-z0-9][a-z0-9._-]{0,127}\Z")]
Text = Annotated[str, Meta(min_length=1, max_length=65536)]
Digest = Annotated[Sha256, Meta(pattern=SHA256_PATTERN)]
Header = Annotated[str, Meta(pattern=r"^[A-Za-z0-9+/]{54}==\Z")]
"""The 40-byte header of a sealed object, in standard base64."""


class WrappedKeyset(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A keyset that only the customer's KMS can open."""

    kms: Text
    """The KMS key, e.g. ``vault://transit/strongroom``."""
    context: dict[str, str]
    """What the KMS binds the ciphertext to; unwrapping with another context fails."""
    wrapped: Text
    """The KMS's ciphertext of ``Keyset.to_tink()``."""
    key_id: Annotated[int, Meta(ge=1, le=MAX_KEY_ID)]
    commitment: Digest
    """``Keyset.commitment()``."""


class Shard(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One sealed shard of a dataset."""

    index: Count
    object: Name
    """The object's name in the manifest's folder: ``shard-00000.sealed``."""
    header: Header
    size_bytes: Count
    """The length of the sealed object."""
    sha256: Digest
    """Of the sealed object, at ingest."""
    records: Count
    plaintext_bytes: Count

    @property
    def header_bytes(self) -> bytes:
        """The 40-byte header, for ``StreamingKey.opener``."""
        return base64.b64decode(self.header)


class SealedObject(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One sealed object of a checkpoint."""

    object: Name
    size_bytes: Count
    sha256: Digest
    """Of the sealed object."""
    plaintext_sha256: Digest
    """Of what it holds. Anyone who can guess the whole plaintext can confirm the guess."""
    header: Header

    @property
    def header_bytes(self) -> bytes:
        """The 40-byte header, for ``StreamingKey.opener``."""
        return base64.b64decode(self.header)


class DatasetManifest(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A dataset: an ordered set of shards under one keyset.

    An evaluator is sealed in the same way, as one shard with one record, its source: format
    ``python``. Neither can stand for the other: each has its own ``decode_`` function.
    """

    version: Literal[1] = 1
    kind: Literal["dataset"] = "dataset"
    name: Name
    format: Literal["jsonl+zstd", "python"] = "jsonl+zstd"
    records: Count
    keyset: WrappedKeyset
    shards: Annotated[tuple[Shard, ...], Meta(min_length=1)]


class CheckpointManifest(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What a run wrote at one step."""

    version: Literal[1] = 1
    kind: Literal["checkpoint"] = "checkpoint"
    run: Name
    step: Count
    plan_digest: Digest
    objects: dict[Name, SealedObject]
    """By role: ``adapter``, ``state``, …"""
    cursor: dict[str, Annotated[int, Meta(ge=-MAX_INTEGER, le=MAX_INTEGER)]]
    """The run's position, for resuming."""


M = TypeVar("M", DatasetManifest, CheckpointManifest)


class _Preamble(msgspec.Struct, frozen=True):
    version: int
    kind: str


def shard_name(index: int) -> str:
    """The object name of a shard: ``shard-00000.sealed``."""
    return f"shard-{index:05d}.sealed"


def encode_header(header: bytes) -> str:
    """A sealed object's header as manifests hold it."""
    return base64.b64encode(header).decode()


def shard_ad(manifest: DatasetManifest, shard: Shard) -> bytes:
    """The identity that a shard is sealed under."""
    return shard_identity(manifest.name, manifest.keyset.key_id, shard.index, shard.records)


def shard_identity(dataset: str, key_id: int, index: int, records: int) -> bytes:
    """Like ``shard_ad``, for sealing, when there is no manifest yet.

    A logical name without bucket or path, so that a replica in another bucket still opens.
    """
    return _identity(b"strongroom/shard/v1", dataset, str(key_id), str(index), str(records))


def object_ad(run: str, step: int, name: str) -> bytes:
    """The identity that an object of a checkpoint is sealed under."""
    return _identity(b"strongroom/object/v1", run, str(step), name)


def encode(manifest: DatasetManifest | CheckpointManifest) -> bytes:
    """The payload to sign. Raises what decoding it would raise: nothing unreadable is written."""
    try:
        payload = canonical(manifest)
    except NotCanonical as error:
        raise ManifestMalformed(actual=str(error)) from None
    if isinstance(manifest, DatasetManifest):
        decode_sealed(payload, manifest.name)
    else:
        decode_checkpoint(payload, manifest.run)
    return payload


def decode_dataset(payload: bytes, place: str) -> DatasetManifest:
    """The manifest of a dataset of rows in a verified payload. Raises like ``decode_sealed``."""
    manifest = decode_sealed(payload, place)
    if manifest.format == SOURCE_FORMAT:
        raise ManifestKindWrong(place=place, expected="a dataset", actual="an evaluator")
    return manifest


def decode_evaluator(payload: bytes, place: str) -> DatasetManifest:
    """The manifest of a sealed evaluator in a verified payload. Raises like ``decode_sealed``."""
    manifest = decode_sealed(payload, place)
    if manifest.format != SOURCE_FORMAT:
        raise ManifestKindWrong(place=place, expected="an evaluator", actual="a dataset")
    return manifest


def decode_sealed(payload: bytes, place: str) -> DatasetManifest:
    """The manifest of a dataset or an evaluator in a verified payload.

    ``place`` names the manifest in errors. Raises ``ManifestMalformed``,
    ``ManifestVersionUnknown``, ``ManifestKindWrong``, ``ManifestNotCanonical`` and
    ``ManifestInconsistent``.
    """
    manifest = _decode(payload, DatasetManifest, "dataset", place)
    for index, shard in enumerate(manifest.shards):
        where = f"{place} shard {index}"
        _require(shard.index == index, where, f"index {index}", f"index {shard.index}")
        wanted = shard_name(index)
        _require(shard.object == wanted, where, f"object {wanted}", f"object {shard.object}")
        held = _check_sealed(shard, where)
        found = f"plaintext_bytes {shard.plaintext_bytes}"
        _require(shard.plaintext_bytes == held, where, f"plaintext_bytes {held}", found)
    total = sum(shard.records for shard in manifest.shards)
    _require(manifest.records == total, place, f"{total} records", f"{manifest.records}")
    _require_distinct([shard.header for shard in manifest.shards], place)
    if manifest.format == SOURCE_FORMAT:
        one = len(manifest.shards) == 1 == total
        _require(one, place, "one source in one shard", f"{len(manifest.shards)} shards")
    return manifest


def decode_checkpoint(payload: bytes, place: str) -> CheckpointManifest:
    """The checkpoint manifest in a verified payload. Raises like ``decode_dataset``."""
    manifest = _decode(payload, CheckpointManifest, "checkpoint", place)
    for name, sealed in manifest.objects.items():
        _check_sealed(sealed, f"{place} object {name}")
    _require_distinct([sealed.header for sealed in manifest.objects.values()], place)
    _require_distinct([sealed.object for sealed in manifest.objects.values()], place)
    return manifest


def _decode(payload: bytes, shape: type[M], kind: str, place: str) -> M:
    try:
        preamble = bounded_json.decode(payload, shape=_Preamble)
        if preamble.version != VERSION:
            raise ManifestVersionUnknown(
                place=place, expected=f"version {VERSION}", actual=f"version {preamble.version}"
            )
        if preamble.kind != kind:
            raise ManifestKindWrong(place=place, expected=kind, actual=preamble.kind[:40])
        manifest = bounded_json.decode(payload, shape=shape)
    except msgspec.DecodeError as error:
        raise ManifestMalformed(place=place, actual=str(error)) from None
    try:
        is_canonical = canonical(manifest) == payload
    except NotCanonical:
        is_canonical = False
    if not is_canonical:
        raise ManifestNotCanonical(place=place)
    return manifest


def _check_sealed(pinned: Shard | SealedObject, place: str) -> int:
    """How many plaintext bytes the pinned object holds, if its header and length are possible."""
    header = pinned.header_bytes
    _require(
        header[0] == segments.HEADER_BYTES and encode_header(header) == pinned.header,
        place,
        "the header of a sealed object",
        "another header",
    )
    try:
        return segments.plaintext_bytes(pinned.size_bytes)
    except LengthImpossible:
        raise ManifestInconsistent(
            place=place,
            expected="the length of a sealed object",
            actual=f"size_bytes {pinned.size_bytes}",
        ) from None


def _require(holds: bool, place: str, expected: str, actual: str) -> None:
    if not holds:
        raise ManifestInconsistent(place=place, expected=expected, actual=actual)


def _require_distinct(values: list[str], place: str) -> None:
    twice = len(values) - len(set(values))
    _require(not twice, place, "every object once", f"{twice} repeated")


def _identity(domain: bytes, *parts: str) -> bytes:
    if any("\0" in part for part in parts):
        raise ValueError("a part of an identity holds a NUL")
    return b"\0".join((domain, *(part.encode() for part in parts)))
