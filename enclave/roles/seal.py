"""The ``seal`` enclave: rows in, sealed shards out, and no network in the process that sees them.

Checks every row of the owner's files first. Only when all are good does it read the files again and
seal them into shards of JSONL, whatever their format was (docs/adr/0010). The files are opened
before the lock-down and read after it, so Landlock needs no rule for them.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

import zstandard

from strongroom.crypto.keyset import Keyset
from strongroom.enclave.assurance import Assurance
from strongroom.enclave.attest import COMMANDS, seal_subject
from strongroom.enclave.channel import capacity, frames
from strongroom.enclave.channel.errors import ChannelViolation, RecordsRejected, known
from strongroom.enclave.channel.framing import Channel
from strongroom.enclave.roles.lifecycle import Lifecycle
from strongroom.enclave.roles.seal_evaluator import seal_evaluator
from strongroom.enclave.roles.shard_writer import sent_shard
from strongroom.enclave.rows.sources import Source

ZSTD_LEVEL = 3


def main(fd: int, assurance: Assurance, arguments: Sequence[str]) -> None:
    """Seal files over the socket ``fd``; ``arguments`` are nonce, key, dataset and file names."""
    nonce, kms, dataset, *names = arguments
    channel = Channel(socket.socket(fileno=fd), "sealer's parent")
    descriptors = [os.open(name, os.O_RDONLY | os.O_CLOEXEC) for name in names]
    sources = [Source(descriptor) for descriptor in descriptors]
    life = Lifecycle.begin(channel, assurance)
    zstandard.ZstdCompressor(level=ZSTD_LEVEL).compressobj().compress(b"warm")
    if any(source.is_parquet for source in sources):
        from strongroom.enclave.rows import parquet  # starts threads, so after stage A

        parquet.warm_up()
    attested = life.attest("seal", seal_subject(dataset, kms), nonce, fds=descriptors)
    sealing = _Sealing(channel, sources, attested.keysets["dataset"])
    command = channel.recv_record(COMMANDS)
    if not isinstance(command, frames.SealShards | frames.SealEvaluator):
        raise ChannelViolation(place="parent", expected="a sealer's", actual="another command")
    try:
        if isinstance(command, frames.SealEvaluator):
            seal_evaluator(channel, command.name, descriptors[0], sealing.keyset)
        else:
            sealing.check()
            sealing.seal(command)
    except BaseException as failed:  # a library's panic is no Exception
        error = known(failed)
        line, column = getattr(error, "line", None), getattr(error, "column", None)
        channel.send_record(
            frames.Failure(
                code=error.code, shard=sealing.reading, line=line or -1, column=column or -1
            )
        )
    else:
        channel.send_record(frames.Done())


@dataclass
class _Sealing:
    """Rows on their way from the owner's files into shards."""

    channel: Channel
    sources: Sequence[Source]
    keyset: Keyset
    reading: int = 0
    """Index of the source that is being read, for errors."""

    def check(self) -> None:
        """Read every file, and report every bad row. Raises ``RecordsRejected`` if there is one."""
        bad = 0
        for index, source in enumerate(self.sources):
            self.reading, of_source = index, 0
            for line, fault in source.faults():
                of_source += 1
                if of_source <= capacity.BAD_RECORD_LIMIT:
                    self.channel.send_record(
                        frames.BadRecord(
                            dataset="train", shard=self.reading, line=line, fault=str(fault)
                        )
                    )
            bad += of_source
        if bad:
            raise RecordsRejected(actual=str(bad))

    def seal(self, command: frames.SealShards) -> None:
        """Read every file again and seal its rows. Raises ``SourceChanged``."""
        total = sum(source.records for source in self.sources)
        rows = self._rows()
        for shard, start in enumerate(range(0, total, command.records_per_shard)):
            size = min(command.records_per_shard, total - start)
            compressor = zstandard.ZstdCompressor(level=ZSTD_LEVEL).compressobj()
            with sent_shard(self.channel, self.keyset, command.dataset, shard, size) as writer:
                for row in islice(rows, size):
                    writer.write(compressor.compress(row + b"\n"))
                writer.write(compressor.flush())
        for _ in rows:  # there is none: this is where the last file is compared
            pass

    def _rows(self) -> Iterator[bytes]:
        for index, source in enumerate(self.sources):
            self.reading = index
            yield from source.rows()
