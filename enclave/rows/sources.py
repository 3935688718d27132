"""The owner's files of rows: JSONL, plain or compressed with zstd, or Parquet.

A sealer reads each file twice: :meth:`Source.faults` checks every row, and only when all rows of
all files are good does :meth:`Source.rows` read them again, to be sealed. Files are too large to be
kept, and may change between the two passes, so both passes make a SHA-256 of the rows: a second
pass that gives other rows, more or fewer ends in ``SourceChanged``. By then some of them may have
been sealed, but a dataset exists only once its manifest does.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

from strongroom.enclave.channel.errors import NotCompressed, NotParquet, SourceChanged
from strongroom.enclave.rows.lines import Position, records
from strongroom.enclave.rows.zstd_frames import check_whole
from strongroom.trainer.data.chat import FaultCode, RecordFault
from strongroom.trainer.data.rows import decode_row

PATTERNS = ("*.jsonl", "*.jsonl.zst", "*.parquet")
_ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"
_PARQUET_MAGIC = b"PAR1"
_READ_BYTES = 1 << 20


def source_files(source: Path) -> list[Path]:
    """The files of rows that ``source`` names: itself, or those in the folder, by name."""
    if source.is_dir():
        return sorted(path for pattern in PATTERNS for path in source.glob(pattern))
    return [source]


class Source:
    """One file, open as ``descriptor``; its first bytes decide the format, not its name."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        magic = os.pread(descriptor, 4, 0)
        self.is_parquet = magic == _PARQUET_MAGIC
        self._is_zstd = magic == _ZSTD_MAGIC
        self.records = 0
        """Good rows that the first pass found."""
        self._checked = b""

    def faults(self) -> Iterator[tuple[int, FaultCode]]:
        """The first pass: each bad row by line, from 1; if columns are bad, those by number.

        Raises ``NotCompressed`` and ``NotParquet``.
        """
        if self._is_zstd:
            check_whole(self._descriptor)
        if self.is_parquet:
            from strongroom.enclave.rows import parquet

            unfit = list(parquet.unfit_columns(self._descriptor))
            if unfit:
                yield from unfit
                return
        position, digest = Position(), _RowDigest()
        for line in self._lines(position):
            fault = line if isinstance(line, FaultCode) else _fault(line)
            if fault is not None:
                yield position.line, fault
            elif not isinstance(line, FaultCode):
                digest.add(line)
        self.records, self._checked = digest.records, digest.value()

    def rows(self) -> Iterator[bytes]:
        """The second pass: every row. Raises ``SourceChanged`` unless they are those checked."""
        digest = _RowDigest()
        try:
            for line in self._lines(Position()):
                if isinstance(line, FaultCode) or digest.records == self.records:
                    raise SourceChanged()
                digest.add(line)
                yield line
        except (NotCompressed, NotParquet):  # it was good before
            raise SourceChanged() from None
        if digest.value() != self._checked:
            raise SourceChanged()

    def read(self, size: int = _READ_BYTES, /) -> bytes:
        """Up to ``size`` bytes from where the file stands; empty at its end."""
        return os.read(self._descriptor, size if size > 0 else _READ_BYTES)

    def _lines(self, position: Position) -> Iterator[bytes | FaultCode]:
        """The rows as JSON from the file's beginning, or what keeps one from being JSON."""
        if self.is_parquet:
            from strongroom.enclave.rows import parquet

            return parquet.rows(self._descriptor, position)
        os.lseek(self._descriptor, 0, os.SEEK_SET)
        lines = records(self, position, compressed=self._is_zstd)
        return (FaultCode.TOO_LONG if line is None else line for line in lines)


class _RowDigest:
    """SHA-256 of rows, each with its length before it, and how many there were."""

    def __init__(self) -> None:
        self._digest = hashlib.sha256()
        self.records = 0

    def add(self, row: bytes) -> None:
        self._digest.update(len(row).to_bytes(8, "little"))
        self._digest.update(row)
        self.records += 1

    def value(self) -> bytes:
        return self._digest.digest()


def _fault(line: bytes) -> FaultCode | None:
    try:
        decode_row(line)
    except RecordFault as fault:
        return fault.code
    return None
