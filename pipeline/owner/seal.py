"""``strongroom seal``: plaintext files on the owner's machine become a sealed dataset in a bucket.

The process here has the network and never reads the files; the sealer it starts reads them and has
no network. Shards are created first, the signed manifest last: a dataset exists once its manifest
does.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

import msgspec

from strongroom.connectors.buckets.bucket import Bucket
from strongroom.connectors.buckets.errors import ObjectExists, ObjectMissing
from strongroom.connectors.buckets.uri import Location
from strongroom.crypto.digests import Sha256, sha256
from strongroom.crypto.dsse import KeyRef, open_envelope, sign_envelope
from strongroom.crypto.manifest import (
    DATASET_TYPE,
    DatasetManifest,
    Shard,
    decode_sealed,
    encode,
    shard_name,
)
from strongroom.crypto.segments import HEADER_BYTES
from strongroom.enclave.channel import capacity, frames
from strongroom.enclave.channel.errors import (
    ChannelViolation,
    RecordRejected,
    RecordsRejected,
)
from strongroom.enclave.channel.framing import Channel
from strongroom.enclave.channel.gate import check_sealed
from strongroom.enclave.channel.outgoing_words import DETAILS
from strongroom.enclave.parent import TaskEnclave
from strongroom.enclave.plan.objects import MANIFEST
from strongroom.enclave.rows.sources import source_files
from strongroom.errors import ErrorList, StrongroomError
from strongroom.errors.registry import all_codes
from strongroom.errors.visible import shortened
from strongroom.pipeline.owner.errors import (
    DatasetExists,
    DatasetMissing,
    DatasetNameInvalid,
    SourceMissing,
)
from strongroom.pipeline.releaser.client import ReleaserClient
from strongroom.trainer.data.chat import FaultCode

#: What a manifest can hold as its dataset's name, see ``crypto.manifest``.
_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,127}")
#: Faults whose number is that of a column, and what to do about it.
_OF_COLUMNS = {
    str(FaultCode.COLUMN_TYPE): "Rows hold what JSON has; write the column as the text you mean.",
    str(FaultCode.COLUMN_REPEATED): "Give the column another name, or leave it out.",
}


@dataclass(frozen=True)
class Sealed:
    """A dataset that was sealed."""

    uri: str
    manifest: DatasetManifest
    manifest_sha256: Sha256
    signer: str


def seal(
    source: Path,
    target: Location,
    bucket: Bucket,
    releaser: ReleaserClient,
    *,
    kms: str,
    name: str,
    records_per_shard: int,
    progress: Callable[[int], None] = lambda _records: None,
    is_evaluator: bool = False,
) -> Sealed:
    """Seal the rows of ``source`` (a JSONL or Parquet file, or a folder of them) into ``target``.

    With ``is_evaluator``, ``source`` is one Python file instead, sealed as it is. Raises
    ``ErrorList`` with every bad record by file and line; nothing is written then.
    """
    if not _NAME.fullmatch(name):
        raise DatasetNameInvalid(place="name", actual=f"{shortened(name, 80)!r}")
    files = [source] if is_evaluator else source_files(source)
    missing = [file for file in files if not file.is_file()] if files else [source]
    if missing:
        raise SourceMissing(place=str(missing[0]), expected="a .jsonl, .jsonl.zst or .parquet file")
    existing = next(iter(bucket.list(target.key)), None)
    if existing is not None:
        raise DatasetExists(place=str(target), actual=existing.key)
    arguments = [releaser.challenge(), kms, name, *(str(file.absolute()) for file in files)]
    with TaskEnclave("sealer", "strongroom.enclave.roles.seal", arguments) as sealer:
        released = releaser.release_seal(sealer.evidence(), name, kms)
        sealer.send(
            frames.Keys(sealed=released.sealed),
            frames.SealEvaluator(name=name)
            if is_evaluator
            else frames.SealShards(dataset=name, records_per_shard=records_per_shard),
        )
        shards = _receive(sealer.channel, files, target, bucket, progress)
    if not shards:
        raise SourceMissing(place=str(source), expected="at least one row")
    manifest = DatasetManifest(
        name=name,
        format="python" if is_evaluator else "jsonl+zstd",
        records=sum(shard.records for shard in shards),
        keyset=released.keyset,
        shards=tuple(shards),
    )
    payload = encode(manifest)
    signed = releaser.sign_manifest(payload)
    envelope = sign_envelope(
        DATASET_TYPE, payload, KeyRef(signed.signer), lambda _message: signed.signature
    )
    bucket.create(target.key + MANIFEST, envelope)
    return Sealed(str(target), manifest, sha256(envelope), signed.signer)


def _receive(
    channel: Channel,
    files: list[Path],
    target: Location,
    bucket: Bucket,
    progress: Callable[[int], None],
) -> list[Shard]:
    """Write what the sealer sends; anything but a sealer's next record is a violation."""
    shards: list[Shard] = []
    bad: list[StrongroomError] = []
    digest = hashlib.sha256()
    size = records = 0

    def pieces() -> Iterator[bytes]:
        nonlocal size
        head = b""
        for piece in channel.recv_object(bytearray()):
            if not size:  # before anything of it is on its way to the bucket
                head = bytes(piece[:HEADER_BYTES])
                check_sealed(head, place="sealer")
            digest.update(piece)
            size += len(piece)
            yield bytes(piece)
        check_sealed(head, size, place="sealer")

    while True:
        record = channel.recv_record(frames.RECORDS)
        match record:
            case frames.BadRecord() if _names_a_line(record, len(files)):
                column = " column " if record.fault in _OF_COLUMNS else ":"
                place = f"{files[record.shard]}{column}{record.line}"
                remedy = _OF_COLUMNS.get(record.fault, "")
                bad.append(RecordRejected(place=place, actual=record.fault, remedy=remedy))
            case frames.Put() if record.index == len(shards):
                digest, size = hashlib.sha256(), 0
                try:
                    bucket.create(target.key + shard_name(record.index), pieces())
                except ObjectExists as error:
                    raise DatasetExists(place=error.place) from None
            case frames.ShardSealed() if record.shard == len(shards):
                shards.append(
                    Shard(
                        index=record.shard,
                        object=shard_name(record.shard),
                        header=record.header,
                        size_bytes=size,
                        sha256=Sha256("sha256:" + digest.hexdigest()),
                        records=record.records,
                        plaintext_bytes=record.plaintext_bytes,
                    )
                )
                records += record.records
                progress(records)
            case frames.Failure() if record.code in all_codes():
                failure = all_codes()[record.code]
                if failure is RecordsRejected:
                    more = " or more" if len(bad) == capacity.BAD_RECORD_LIMIT else ""
                    raise ErrorList([*bad, RecordsRejected(actual=f"{len(bad)}{more}")])
                numbers = [str(n) for n in (record.line, record.column) if n > 0]
                file = files[record.shard] if record.shard in range(len(files)) else files[0]
                raise failure(place=":".join([str(file), *numbers]))
            case frames.Done():
                return shards
            case _:
                raise ChannelViolation(place="sealer", expected="a record of a sealer")


def _names_a_line(record: frames.BadRecord, files: int) -> bool:
    return record.shard in range(files) and record.line > 0 and record.fault in DETAILS


def stored(target: Location, bucket: Bucket, signers: Collection[KeyRef]) -> Sealed:
    """A dataset or evaluator that is there, signed by one of ``signers``.

    Raises ``DatasetMissing``, and as ``open_envelope`` and ``decode_sealed``.
    """
    place = f"{target}{MANIFEST}"
    try:
        envelope, _etag = bucket.get(target.key + MANIFEST)
    except ObjectMissing:
        raise DatasetMissing(place=place) from None
    payload, signer = open_envelope(envelope, DATASET_TYPE, signers, place=place)
    return Sealed(str(target), decode_sealed(payload, place), sha256(envelope), signer)


def describe(sealed: Sealed) -> dict[str, object]:
    """What was sealed, as plain data for ``--json``."""
    return {
        "uri": sealed.uri,
        "name": sealed.manifest.name,
        "records": sealed.manifest.records,
        "shards": len(sealed.manifest.shards),
        "ciphertext_bytes": sum(shard.size_bytes for shard in sealed.manifest.shards),
        "manifest_sha256": sealed.manifest_sha256,
        "signer": sealed.signer,
        "keyset": msgspec.to_builtins(sealed.manifest.keyset),
    }
