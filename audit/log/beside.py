"""What lies under a log's prefix beside what its head covers.

The sequencer leaves objects behind as the log grows: partial bundles and tiles of earlier sizes,
and the claims before them. They are told from what somebody else put there by their digests, as a
listing has them; a store that lists no MD5 tells them by their names only.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Iterable, Sequence

from strongroom.audit.log.store import CHECKPOINT, StoredVersion
from strongroom.audit.log.tlog import TILE_WIDTH, encode_bundle, tile_path
from strongroom.audit.log.tree import StoredTree

_PARTIAL = re.compile(r"tile/(entries|[0-9]{1,2})/([x/0-9]+)\.p/([1-9][0-9]{0,2})")
_CLAIM = re.compile(r"next/(0|[1-9][0-9]{0,18})")
_MD5 = re.compile(r'"?([0-9a-f]{32})"?')


def md5_of(stored: StoredVersion) -> str | None:
    """The MD5 that a listing gives of a version."""
    found = _MD5.fullmatch(stored.etag)
    return found[1] if found else None


class Beside:
    """Sorts a listing by what each object is to the log; every bundle must have been found right.

    ``superseded`` counts what the log left behind as it grew, ``written_over`` and ``foreign`` are
    objects under the head that have other versions, and objects that are not of the log at all,
    each with what there is of it.
    """

    def __init__(self, tree: StoredTree, listing: Iterable[StoredVersion]) -> None:
        self.superseded = 0
        self.written_over: dict[str, str] = {}
        self.foreign: dict[str, str] = {}
        self._tree = tree
        self._digests: dict[tuple[int | str, int], dict[int, str]] = {}
        by_key: dict[str, list[StoredVersion]] = {}
        for each in listing:
            if each.key != CHECKPOINT:
                by_key.setdefault(each.key, []).append(each)
        covered = tree.paths
        for key, versions in sorted(by_key.items()):
            alone = len(versions) == 1 and not versions[0].deleted
            if key in covered:
                if not alone:
                    self.written_over[key] = _count(versions)
            elif alone and self._is_superseded(versions[0]):
                self.superseded += 1
            else:
                self.foreign[key] = _count(versions)

    def _is_superseded(self, stored: StoredVersion) -> bool:
        if claim := _CLAIM.fullmatch(stored.key):
            return int(claim[1]) < self._tree.size
        if partial := _PARTIAL.fullmatch(stored.key):
            level = partial[1] if partial[1] == "entries" else int(partial[1])
            index, width = int(re.sub("[x/]", "", partial[2]) or "0"), int(partial[3])
            if tile_path(level, index, width) == stored.key:
                digest = self._of(level, index).get(width)
                return digest is not None and md5_of(stored) in (digest, None)
        return False

    def _of(self, level: int | str, index: int) -> dict[int, str]:
        """MD5 by width of one bundle or tile, as far as the log goes."""
        if (level, index) not in self._digests:
            found = hashlib.md5(usedforsecurity=False)
            digests = self._digests[level, index] = {}
            for width, part in enumerate(self._parts(level, index), 1):
                found.update(part)
                digests[width] = found.hexdigest()
        return self._digests[level, index]

    def _parts(self, level: int | str, index: int) -> Iterable[bytes]:
        if isinstance(level, str):
            return (encode_bundle([entry]) for entry in self._tree.bundle(index))
        levels = self._tree.levels or []
        hashes = levels[level] if level < len(levels) else []
        return hashes[index * TILE_WIDTH : (index + 1) * TILE_WIDTH]


def _count(versions: Sequence[StoredVersion]) -> str:
    found = Counter("delete marker" if each.deleted else "version" for each in versions)
    return ", ".join(f"{n} {name}{'s' if n > 1 else ''}" for name, n in sorted(found.items()))
