"""A run in a folder: a copy of its buckets, as ``<folder>/<bucket>/<key>``.

That is how ``aws s3 sync s3://BUCKET FOLDER/BUCKET`` and ``strongroom log copy`` write it. Nothing
here reaches a network, and no link leads out of the folder.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from strongroom.audit.log.note import parse_vkey
from strongroom.audit.log.store import CHECKPOINT, DirectoryStore, LogReader
from strongroom.connectors.buckets.errors import ObjectMissing
from strongroom.connectors.buckets.uri import parse
from strongroom.enclave.plan.objects import RunLayout
from strongroom.pipeline.inspection.errors import CopyIncomplete

_CHUNK_BYTES = 1 << 20


class FolderReader:
    """``broker.reading.RunReader`` over a copy.

    The log lies where its key's name says, below ``folder``; ``outputs`` is the address of the
    prefix that the run's folder lies under. Raises ``CopyIncomplete`` where there is no log.
    """

    def __init__(self, folder: Path, vkey: str, run: str, outputs: str) -> None:
        self._folder = folder.resolve()
        self._log = log_in(self._folder, parse_vkey(vkey).name)
        self.layout = RunLayout(outputs, run)
        self.audit = f"{parse(outputs).scheme}://{parse_vkey(vkey).name}/"

    def get(self, uri: str) -> bytes | None:
        """See ``RunReader.get``."""
        path = self._path(uri)
        return path.read_bytes() if path is not None and path.is_file() else None

    def stream(self, uri: str) -> Iterator[memoryview]:
        """See ``RunReader.stream``."""
        path = self._path(uri)
        if path is None or not path.is_file():
            raise ObjectMissing(place=uri)
        with path.open("rb") as file:
            while piece := file.read(_CHUNK_BYTES):
                yield memoryview(piece)

    def names(self, uri: str) -> list[str]:
        """See ``RunReader.names``."""
        root = self._path(uri)
        if root is None:
            return []
        found = (Path(at, name) for at, _, names in os.walk(root) for name in names)
        return sorted(path.relative_to(root).as_posix() for path in found)

    def log(self) -> LogReader:
        """See ``RunReader.log``."""
        return self._log

    def _path(self, uri: str) -> Path | None:
        """Where an object lies; None where a link leads out of the folder."""
        location = parse(uri)
        path = (self._folder / location.bucket / location.key).resolve()
        return path if path.is_relative_to(self._folder) else None


def log_in(folder: Path, origin: str) -> LogReader:
    """The log of this name in a copy. Raises ``CopyIncomplete``."""
    root = folder / origin
    if not (root / CHECKPOINT).is_file():
        raise CopyIncomplete(place=str(root), expected=f"the log {origin}, its checkpoint first")
    return DirectoryStore(root)
