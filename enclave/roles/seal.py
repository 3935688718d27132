"""The ``seal`` enclave: rows in, sealed shards out; no network beside the plaintext.

Reads the owner's files (JSONL, plain or zstd, or Parquet), checks every record first, and only when
all are good seals them into shards of JSONL, whatever they came as (docs/adr/0010). The files'
names come as arguments, since stage A must know what stays readable. Source files are read twice; a
file that changes in between changes the record count, which fails.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator, Sequence
from pathlib import Path

import zstandard

from strongroom.crypto.keyset import Keyset
from strongroom.crypto.manifest import encode_header, shard_identity
from strongroom.enclave.attest import COMMANDS, attest, seal_order, warm_up_primitives
from strongroom.enclave.channel import frames
from strongroom.enclave.channel.errors import ChannelViolation, RecordsRejected
from strongroom.enclave.channel.framing import Channel, Kind
from strongroom.enclave.measurement import measure
from strongroom.enclave.roles.archives import check_whole
from strongroom.enclave.roles.seal_source import seal_source
from strongroom.enclave.roles.shards import Position, records
from strongroom.enclave.sandbox.launch import Assurance
from strongroom.enclave.sandbox.lockdown import (
    library_paths,
    lock_files_and_network,
    lock_system_calls,
)
from strongroom.enclave.sandbox.probes import probe
from strongroom.enclave.sandbox.secret_memory import SecretMemory
from strongroom.errors import StrongroomError
from strongroom.trainer.data.chat import FaultCode, RecordFault
from strongroom.trainer.data.rows import decode_row

ZSTD_LEVEL = 3
_READ_BYTES = 1 << 20
ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"
PARQUET_MAGIC = b"PAR1"
SOURCES = ("*.jsonl", "*.jsonl.zst", "*.parquet")


def main(fd: int, assurance: Assurance, arguments: Sequence[str]) -> None:
    """Seal the files in ``arguments`` (after nonce and key reference) over the socket ``fd``."""
    nonce, kms, dataset, *names = arguments
    channel = Channel(socket.socket(fileno=fd), "sealer's parent")
    measurement = measure()
    window = SecretMemory(1)
    # Opened before the lock-down and read after it: Landlock then needs no rule for them.
    sources = [os.open(name, os.O_RDONLY | os.O_CLOEXEC) for name in names]
    warm_up_primitives()
    zstandard.ZstdCompressor(level=ZSTD_LEVEL).compressobj().compress(b"warm")
    locked = assurance != "A0"
    if locked:
        lock_files_and_network(library_paths())
    if any(_is_parquet(source) for source in sources):
        from strongroom.enclave.roles import (
            parquet,  # it starts threads, which stage A does not take
        )

        parquet.warm_up()
    if locked:
        lock_system_calls()
    seen = probe(expected_fds=(fd, *sources), secret_memory=window.kind)
    attested = attest(
        channel,
        role="seal",
        assurance=assurance,
        measurement=measurement,
        plan_digest=seal_order(dataset, kms),
        nonce=nonce,
        probes=seen.probes,
        warnings=seen.warnings,
    )
    command = channel.recv_record(COMMANDS)
    if not isinstance(command, frames.SealShards | frames.SealEvaluator):
        raise ChannelViolation(place="parent", expected="a sealer's", actual="another command")
    try:
        if isinstance(command, frames.SealEvaluator):
            seal_source(channel, command.name, sources[0], attested.keysets["dataset"])
        else:
            _seal_rows(channel, command, sources, attested.keysets["dataset"])
    except StrongroomError as error:
        line, column = getattr(error, "line", None), getattr(error, "column", None)
        channel.send_record(frames.Failure(code=error.code, line=line or -1, column=column or -1))
        return
    channel.send_record(frames.Done())


def _seal_rows(
    channel: Channel, command: frames.SealShards, sources: Sequence[int], keyset: Keyset
) -> None:
    counts = [_check(channel, index, source) for index, source in enumerate(sources)]
    if any(bad for _good, bad in counts):
        raise RecordsRejected(actual=str(sum(bad for _good, bad in counts)))
    _seal(channel, command, sources, sum(good for good, _bad in counts), keyset)


class _File:
    """A descriptor as a source of bytes, decompressed when it is zstd."""

    def __init__(self, source: int) -> None:
        self._source = source
        self.is_zstd = os.pread(source, 4, 0) == ZSTD_MAGIC
        os.lseek(source, 0, os.SEEK_SET)

    def read(self, size: int = _READ_BYTES) -> bytes:
        """Up to ``size`` bytes; empty at the end."""
        return os.read(self._source, size if size > 0 else _READ_BYTES)


def _is_parquet(source: int) -> bool:
    return os.pread(source, 4, 0) == PARQUET_MAGIC


def _lines(source: int, position: Position) -> Iterator[bytes | FaultCode]:
    """A file's rows as JSON, or what is wrong with them."""
    if _is_parquet(source):
        from strongroom.enclave.roles import parquet

        return parquet.rows(source, position)
    file = _File(source)
    lines = records(file, position, compressed=file.is_zstd)
    return (FaultCode.TOO_LONG if line is None else line for line in lines)


def _check(channel: Channel, index: int, source: int) -> tuple[int, int]:
    """Good and bad records of one file; each bad one is reported by line, columns by number."""
    if _File(source).is_zstd:
        check_whole(source)
    good = bad = 0
    for line, fault in _faults(source):
        if fault is None:
            good += 1
            continue
        bad += 1
        if bad <= frames.BAD_RECORD_LIMIT:
            channel.send_record(
                frames.BadRecord(dataset="train", shard=index, line=line, fault=str(fault))
            )
    return good, bad


def _faults(source: int) -> Iterator[tuple[int, FaultCode | None]]:
    """What is wrong with each row of a file, by line; with its columns, if with any."""
    if _is_parquet(source):
        from strongroom.enclave.roles import parquet

        unfit = list(parquet.unfit_columns(source))
        if unfit:
            yield from unfit
            return
    position = Position()
    for line in _lines(source, position):
        if isinstance(line, FaultCode):
            yield position.line, line
            continue
        try:
            decode_row(line)
            yield position.line, None
        except RecordFault as fault:
            yield position.line, fault.code


def _seal(
    channel: Channel,
    command: frames.SealShards,
    sources: Sequence[int],
    total: int,
    keyset: Keyset,
) -> None:
    rows = _good(sources)
    count = 0
    shard = 0
    while count < total:
        size = min(command.records_per_shard, total - count)
        ad = shard_identity(command.dataset, keyset.key_id, shard, size)
        channel.send_record(frames.Put(artifact="shard", index=shard, size_bytes=0))
        writer = keyset.streaming().writer(ad, lambda piece: channel.send(Kind.DATA, piece))
        compressor = zstandard.ZstdCompressor(level=ZSTD_LEVEL).compressobj()
        for _ in range(size):
            writer.write(compressor.compress(next(rows) + b"\n"))
        writer.write(compressor.flush())
        writer.close()
        channel.send(Kind.END)
        channel.send_record(
            frames.ShardSealed(
                shard=shard,
                header=encode_header(writer.header),
                records=size,
                plaintext_bytes=writer.plaintext_bytes,
            )
        )
        count += size
        shard += 1


def _good(sources: Sequence[int]) -> Iterator[bytes]:
    for source in sources:
        for line in _lines(source, Position()):
            if not isinstance(line, FaultCode):
                yield line


def source_files(source: Path) -> list[Path]:
    """The files of rows that ``source`` names: itself, or those in the folder, by name."""
    if source.is_dir():
        return sorted(path for kind in SOURCES for path in source.glob(kind))
    return [source]
