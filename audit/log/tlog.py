"""The arithmetic of a C2SP tlog-tiles log: hashes, tile names, and the growing edge of the tree.

Pure: bytes in, bytes out, no I/O. The tree is RFC 6962's with SHA-256; a tile holds 256
consecutive hashes of one of the levels 0, 8, 16 …, and a hash at tile level L+1 is the root of a
full tile at level L (https://c2sp.org/tlog-tiles).

An ``Edge`` is all that a writer must remember: the partial tile of each level and the entries of
the last, partial bundle. Growing it costs the new hashes only, never the whole tree again.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from strongroom.audit.log.errors import EntryBundleMalformed, EntryTooLarge

HASH_BYTES = 32
TILE_WIDTH = 256
ENTRY_BYTES_MAX = 65_534
"""Largest entry in bytes: the length prefix is a u16, and 65,535 is left unused."""

EMPTY_ROOT = hashlib.sha256(b"").digest()


def leaf_hash(entry: bytes) -> bytes:
    """SHA-256(0x00 ‖ entry), RFC 6962 section 2.1."""
    return hashlib.sha256(b"\x00" + entry).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """SHA-256(0x01 ‖ left ‖ right), RFC 6962 section 2.1."""
    return hashlib.sha256(b"\x01" + left + right).digest()


def subtree_root(hashes: Sequence[bytes]) -> bytes:
    """Merkle tree hash over ``hashes`` taken as leaves; the empty tree's root for none."""
    if not hashes:
        return EMPTY_ROOT
    row = list(hashes)
    while len(row) > 1:
        pairs = [node_hash(row[i], row[i + 1]) for i in range(0, len(row) - 1, 2)]
        row = pairs + row[len(row) & ~1 :]
    return row[0]


def split_hashes(tile: bytes) -> list[bytes]:
    """The 32-byte hashes of a tile."""
    return [tile[i : i + HASH_BYTES] for i in range(0, len(tile), HASH_BYTES)]


def tile_path(level: int | str, index: int, width: int) -> str:
    """``tile/<level>/<index>[.p/<width>]``; ``level`` is a number or ``"entries"``.

    The index is written in groups of three digits, all but the last marked with ``x``.
    """
    groups = [f"{index % 1000:03d}"]
    while index := index // 1000:
        groups.insert(0, f"x{index % 1000:03d}")
    suffix = "" if width == TILE_WIDTH else f".p/{width}"
    return f"tile/{level}/{'/'.join(groups)}{suffix}"


def claim_path(size: int) -> str:
    """Name of the claim to what follows a log of ``size`` entries."""
    return f"next/{size}"


def encode_bundle(entries: Iterable[bytes]) -> bytes:
    """Entries as an entry bundle: each with its length as a big-endian u16 before it.

    Raises ``EntryTooLarge``.
    """
    parts: list[bytes] = []
    for position, entry in enumerate(entries):
        if len(entry) > ENTRY_BYTES_MAX:
            raise EntryTooLarge(
                place=f"entry {position}",
                expected=f"at most {ENTRY_BYTES_MAX} bytes",
                actual=f"{len(entry)} bytes",
            )
        parts += (struct.pack(">H", len(entry)), entry)
    return b"".join(parts)


def decode_bundle(data: bytes, place: str) -> list[bytes]:
    """The entries of a bundle; raises ``EntryBundleMalformed`` naming ``place``."""
    entries: list[bytes] = []
    at = 0
    while at < len(data):
        end = at + 2 + int.from_bytes(data[at : at + 2], "big")
        if at + 2 > len(data) or end > len(data):
            raise EntryBundleMalformed(
                place=place, expected=f"{end - at} more bytes", actual=f"{len(data) - at}"
            )
        entries.append(data[at + 2 : end])
        at = end
    return entries


def edge_tiles(size: int) -> list[tuple[int, str, int]]:
    """The partial hash tiles of a tree of ``size``: (level, path, width), lowest level first."""
    found: list[tuple[int, str, int]] = []
    level = 0
    while count := size >> (8 * level):
        if width := count % TILE_WIDTH:
            found.append((level, tile_path(level, count // TILE_WIDTH, width), width))
        level += 1
    return found


def covered_paths(first: int, size: int) -> list[tuple[str, int, int]]:
    """The entry bundles of a log of ``size`` entries from ``first`` on, which is a multiple of 256.

    Each is its path, its first entry, and how many it has.
    """
    found = []
    for at in range(first, size, TILE_WIDTH):
        width = min(TILE_WIDTH, size - at)
        found.append((tile_path("entries", at // TILE_WIDTH, width), at, width))
    return found


def covered(entries: Sequence[bytes]) -> dict[str, bytes]:
    """Every bundle and hash tile that a checkpoint over ``entries`` covers, by name."""
    bundles = {
        path: encode_bundle(entries[at : at + width])
        for path, at, width in covered_paths(0, len(entries))
    }
    return bundles | covered_by([leaf_hash(entry) for entry in entries])


def covered_by(leaves: Sequence[bytes]) -> dict[str, bytes]:
    """Every hash tile that a checkpoint over these leaf hashes covers, by name."""
    return {
        tile_path(level, at // TILE_WIDTH, min(TILE_WIDTH, len(hashes) - at)): b"".join(
            hashes[at : at + TILE_WIDTH]
        )
        for level, hashes in enumerate(tile_levels(leaves))
        for at in range(0, len(hashes), TILE_WIDTH)
    }


def tile_levels(leaves: Sequence[bytes]) -> list[list[bytes]]:
    """The hashes that tiles of each level hold, the leaves' own first."""
    levels: list[list[bytes]] = []
    hashes = list(leaves)
    while hashes:
        levels.append(hashes)
        ends = range(TILE_WIDTH, len(hashes) + 1, TILE_WIDTH)
        hashes = [subtree_root(hashes[end - TILE_WIDTH : end]) for end in ends]
    return levels


def hash_tiles(size: int) -> list[tuple[str, int, int, int]]:
    """The hash tiles of a log of ``size`` entries: path, level, index and width of each."""
    found, level = [], 0
    while count := size >> (8 * level):
        for at in range(0, count, TILE_WIDTH):
            width = min(TILE_WIDTH, count - at)
            found.append(
                (tile_path(level, at // TILE_WIDTH, width), level, at // TILE_WIDTH, width)
            )
        level += 1
    return found


def edge_over(levels: Sequence[Sequence[bytes]], tail: Sequence[bytes]) -> Edge:
    """The edge of the tree whose tiles hold ``levels``; ``tail`` as in ``Edge``."""
    size = len(levels[0]) if levels else 0
    ends = (hashes[len(hashes) - len(hashes) % TILE_WIDTH :] for hashes in levels)
    return Edge(size, tuple(b"".join(hashes) for hashes in ends), tuple(tail))


def roots_at(leaves: Sequence[bytes], sizes: Iterable[int]) -> dict[int, bytes]:
    """The roots of the trees over the first ``size`` leaves, for each size that there is."""
    wanted = {size for size in sizes if size <= len(leaves)}
    roots = {0: EMPTY_ROOT} if 0 in wanted else {}
    peaks: list[bytes] = []
    for size, leaf in enumerate(leaves[: max(wanted, default=0)], 1):
        peaks.append(leaf)
        for _ in range((size & -size).bit_length() - 1):
            right = peaks.pop()
            peaks.append(node_hash(peaks.pop(), right))
        if size in wanted:
            root = peaks[-1]
            for peak in reversed(peaks[:-1]):
                root = node_hash(peak, root)
            roots[size] = root
    return roots


@dataclass(frozen=True)
class Edge:
    """The right edge of a tree of ``size`` entries.

    ``tiles[L]`` is the partial tile of level L, 0 to 255 hashes of 32 bytes; ``tail`` holds the
    entries of the partial entry bundle, as many as ``tiles[0]`` has hashes.
    """

    size: int = 0
    tiles: tuple[bytes, ...] = ()
    tail: tuple[bytes, ...] = field(default=(), repr=False)

    def root(self) -> bytes:
        """The tree's root, folded from the roots of its complete subtrees, right to left."""
        peaks: list[bytes] = []
        for tile in reversed(self.tiles):
            hashes = split_hashes(tile)
            at = 0
            for bit in range(7, -1, -1):
                if len(hashes) >> bit & 1:
                    peaks.append(subtree_root(hashes[at : at + (1 << bit)]))
                    at += 1 << bit
        if not peaks:
            return EMPTY_ROOT
        root = peaks.pop()
        while peaks:
            root = node_hash(peaks.pop(), root)
        return root

    def extend(
        self, entries: Sequence[bytes], leaves: Sequence[bytes] | None = None
    ) -> tuple[Edge, dict[str, bytes]]:
        """The edge after ``entries``, and every tile that the new size asks for, by name.

        Entry bundles come first, then hash tiles, so that whoever writes them in order never
        has a hash before its entry. ``leaves`` are the entries' hashes, if they are known.
        """
        if leaves is None:
            leaves = [leaf_hash(entry) for entry in entries]
        bundles: dict[str, bytes] = {}
        hashes: dict[str, bytes] = {}
        levels = [bytearray(tile) for tile in self.tiles]
        tail = list(self.tail)
        for position, (entry, leaf) in enumerate(zip(entries, leaves, strict=True), self.size):
            tail.append(entry)
            if len(tail) == TILE_WIDTH:
                path = tile_path("entries", position // TILE_WIDTH, TILE_WIDTH)
                bundles[path] = encode_bundle(tail)
                tail.clear()
            _push(levels, leaf, position, hashes)
        size = self.size + len(entries)
        if tail and entries:
            path = tile_path("entries", size // TILE_WIDTH, len(tail))
            bundles[path] = encode_bundle(tail)
        for level, path, width in edge_tiles(size):
            if size >> (8 * level) != self.size >> (8 * level):
                hashes[path] = bytes(levels[level][: width * HASH_BYTES])
        edge = Edge(size, tuple(bytes(tile) for tile in levels), tuple(tail))
        return edge, bundles | hashes


def _push(levels: list[bytearray], leaf: bytes, position: int, full: dict[str, bytes]) -> None:
    """Add one leaf hash at ``position``; tiles that it fills go to ``full`` and one level up."""
    carry, level = leaf, 0
    while True:
        if level == len(levels):
            levels.append(bytearray())
        levels[level] += carry
        if len(levels[level]) < TILE_WIDTH * HASH_BYTES:
            return
        tile = bytes(levels[level])
        index = position >> (8 * (level + 1))
        full[tile_path(level, index, TILE_WIDTH)] = tile
        levels[level].clear()
        carry, level = subtree_root(split_hashes(tile)), level + 1
