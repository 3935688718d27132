"""What is stored of a log under one head, and which of it is true.

The leaves stand there twice: as entries in bundles, and as hashes in the tiles of level 0. Where
the two differ, the tile above tells which is right, and the signed root has the last word. So one
copy lost or changed is told apart from the other, and named alone.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence

from strongroom.audit.errors import AuditError
from strongroom.audit.log.errors import LogObjectMissing, TileMismatch
from strongroom.audit.log.note import Checkpoint
from strongroom.audit.log.store import GuardedReader
from strongroom.audit.log.tlog import (
    HASH_BYTES,
    TILE_WIDTH,
    Edge,
    covered_paths,
    decode_bundle,
    edge_over,
    hash_tiles,
    leaf_hash,
    split_hashes,
    subtree_root,
    tile_levels,
    tile_path,
)


class StoredTree:
    """The bundles and hash tiles of a log of ``head.size`` entries, as far as they are there.

    A full bundle or tile does for a partial one, which may go once the full one is there.
    """

    def __init__(self, store: GuardedReader, head: Checkpoint) -> None:
        self.size = head.size
        self._bundles = covered_paths(0, head.size)
        self._tiles = hash_tiles(head.size)
        self._names: dict[str, str] = {}
        """Full objects, by the partial ones in whose place they were read."""
        paths = [path for path, *_ in self._bundles] + [path for path, *_ in self._tiles]
        self._data = self._read(store, paths)
        self._entries = {path: self._decoded(path, width) for path, _, width in self._bundles}
        self._leaves = {
            path: None if entries is None else [leaf_hash(entry) for entry in entries]
            for path, entries in self._entries.items()
        }
        self.levels = self._true_levels(head.root)
        """The tree's hashes, level by level; None when nothing that is there has the root."""

    @property
    def paths(self) -> set[str]:
        """Names of the objects that the head covers."""
        return {self._names.get(path, path) for path in self._data}

    @property
    def leaves(self) -> list[bytes]:
        """The leaf hashes; there must be ``levels``."""
        return self.levels[0] if self.levels else []

    def checked(self) -> Iterator[tuple[str, AuditError | None]]:
        """Each object, and what is wrong with it; there must be ``levels``."""
        levels = self.levels or []
        for path, at, width in self._bundles:
            right = self._leaves[path] == levels[0][at : at + width]
            yield self._verdict(path, right, "the entries under the root")
        for path, level, index, width in self._tiles:
            data = b"".join(levels[level][index * TILE_WIDTH : index * TILE_WIDTH + width])
            wanted = f"sha256 {hashlib.sha256(data).hexdigest()}"
            yield self._verdict(path, self._data[path] == data, wanted)

    def contradicted(self) -> Iterator[tuple[str, AuditError]]:
        """The bundles that their hash tiles contradict, and what is missing."""
        for path, at, width in self._bundles:
            if self._leaves[path] != self._of_hashes(at, width):
                error = self._verdict(path, False, "the entries of its hash tile")[1]
                if error is not None:
                    yield path, error

    def entries(self, first: int = 0) -> list[bytes]:
        """The entries from ``first`` on; every bundle must have been found right."""
        found: list[bytes] = []
        for path, at, width in self._bundles:
            if at + width > first:
                found += (self._entries[path] or [])[max(first - at, 0) :]
        return found

    def bundle(self, index: int) -> list[bytes]:
        """The entries of one bundle; none beyond the head."""
        if index >= len(self._bundles):
            return []
        return self._entries[self._bundles[index][0]] or []

    def edge(self) -> Edge:
        """The right edge; every bundle must have been found right."""
        return edge_over(self.levels or [], self.entries(self.size - self.size % TILE_WIDTH))

    def _read(self, store: GuardedReader, paths: Sequence[str]) -> dict[str, bytes | None]:
        data = dict(zip(paths, store.read_many(paths), strict=True))
        gone = [path for path in paths if data[path] is None and ".p/" in path]
        full = [path.rpartition(".p/")[0] for path in gone]
        for path, name, found in zip(gone, full, store.read_many(full), strict=True):
            if found is not None:
                self._names[path] = name
                data[path] = found
        for path, _, _, width in self._tiles:
            tile = data[path]
            if tile is not None and path in self._names:
                data[path] = tile[: width * HASH_BYTES]
        return data

    def _decoded(self, path: str, width: int) -> list[bytes] | None:
        data = self._data[path]
        if data is None:
            return None
        try:
            entries = decode_bundle(data, path)
        except AuditError:
            return None
        return entries[:width] if path in self._names else entries

    def _verdict(self, path: str, right: bool, wanted: str) -> tuple[str, AuditError | None]:
        name = self._names.get(path, path)
        if right:
            return name, None
        if self._data[path] is None:
            return name, LogObjectMissing(place=name)
        return name, TileMismatch(place=name, expected=wanted)

    def _true_levels(self, root: bytes) -> list[list[bytes]] | None:
        for leaves in self._ways():
            if len(leaves) == self.size:
                levels = tile_levels(leaves)
                if edge_over(levels, ()).root() == root:
                    return levels
        return None

    def _ways(self) -> Iterator[list[bytes]]:
        """Leaves as they may be, the likeliest first: all from one place, or each as above."""
        by_entries = [self._leaves[path] or [] for path, _, _ in self._bundles]
        yield _joined(by_entries)
        by_hashes = [self._of_hashes(at, width) for _, at, width in self._bundles]
        either = [
            leaves if leaves == hashes or subtree_root(leaves) == self._above(index) else hashes
            for index, (leaves, hashes) in enumerate(zip(by_entries, by_hashes, strict=True))
        ]
        yield _joined(either)
        yield _joined([*either[:-1], *by_entries[-1:]])
        yield _joined(by_hashes)

    def _of_hashes(self, at: int, width: int) -> list[bytes]:
        return split_hashes(self._data[tile_path(0, at // TILE_WIDTH, width)] or b"")[:width]

    def _above(self, index: int) -> bytes:
        """The hash of level 1 that is the root of a full tile of level 0."""
        row = index // TILE_WIDTH
        width = min(TILE_WIDTH, self.size // TILE_WIDTH - row * TILE_WIDTH)
        tile = self._data.get(tile_path(1, row, width)) if width > 0 else None
        hashes = split_hashes(tile or b"")
        place = index % TILE_WIDTH
        return hashes[place] if place < len(hashes) else b""


def _joined(parts: Sequence[Sequence[bytes]]) -> list[bytes]:
    return [leaf for part in parts for leaf in part]
