"""Copying a run out of its buckets: all that ``verify`` reads, as it reads it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from strongroom.audit.log.store import LogReader
from strongroom.connectors.buckets.uri import parse
from strongroom.pipeline.broker.reading import RunReader
from strongroom.pipeline.inspection.errors import CopyTaken
from strongroom.pipeline.inspection.trust import Trust
from strongroom.pipeline.inspection.verify import verify


def copy_run(reader: RunReader, trust: Trust, folder: Path) -> int:
    """Copy a run, its inputs and its log into a new folder, one folder for each bucket.

    Whether it verifies is for whoever reads the copy. Returns how many objects there are. Raises
    ``CopyTaken`` where the folder has something in it.
    """
    if folder.exists() and any(folder.iterdir()):
        raise CopyTaken(place=str(folder))
    copying = _Copying(reader, folder)
    for name in reader.names(reader.audit):
        copying.get(reader.audit + name)
    for name in reader.names(reader.layout.folder):
        copying.copy(reader.layout.folder + name)
    verify(copying, reader.layout.run, trust)
    return copying.count


class _Copying:
    """A ``RunReader`` that writes down what it gives."""

    def __init__(self, reader: RunReader, folder: Path) -> None:
        self.layout, self.audit = reader.layout, reader.audit
        self._reader = reader
        self._folder = folder
        self._written: set[str] = set()

    @property
    def count(self) -> int:
        """How many objects were written."""
        return len(self._written)

    def get(self, uri: str) -> bytes | None:
        """See ``RunReader.get``."""
        data = self._reader.get(uri)
        if data is not None and uri not in self._written:
            self._target(uri).write_bytes(data)
            self._written.add(uri)
        return data

    def stream(self, uri: str) -> Iterator[memoryview]:
        """See ``RunReader.stream``."""
        if uri not in self._written:
            with self._target(uri).open("wb") as file:
                for piece in self._reader.stream(uri):
                    file.write(piece)
            self._written.add(uri)
        with self._target(uri).open("rb") as file:
            while data := file.read(1 << 20):
                yield memoryview(data)

    def copy(self, uri: str) -> None:
        """Write one object down."""
        for _ in self.stream(uri):
            pass

    def names(self, uri: str) -> list[str]:
        """See ``RunReader.names``."""
        return self._reader.names(uri)

    def log(self) -> LogReader:
        """See ``RunReader.log``."""
        return self._reader.log()

    def _target(self, uri: str) -> Path:
        location = parse(uri)
        path = self._folder / location.bucket / location.key
        path.parent.mkdir(parents=True, exist_ok=True)
        return path
