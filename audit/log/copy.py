"""A copy of a log on this machine: its entries, by place and by run, and the edge of its tree.

The releaser's copy is its memory: what is in it is what it has signed or is about to sign, and
nothing else ever will be. A reader's copy saves reading an entry twice, and is what a later head of
the log is held against. One SQLite file; each :meth:`LogCopy.add` is one durable transaction.
"""

from __future__ import annotations

import contextlib
import sqlite3
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import msgspec

from strongroom.audit.log.errors import LogCopyDamaged
from strongroom.audit.log.tlog import TILE_WIDTH, Edge, edge_over, leaf_hash, tile_levels

_SCHEMA = """
CREATE TABLE IF NOT EXISTS entry (
    place INTEGER PRIMARY KEY, id TEXT NOT NULL, run TEXT NOT NULL, data BLOB NOT NULL
);
CREATE INDEX IF NOT EXISTS entry_id ON entry (id);
CREATE INDEX IF NOT EXISTS entry_run ON entry (run, place);
CREATE TABLE IF NOT EXISTS tile (level INTEGER PRIMARY KEY, data BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS fact (name TEXT PRIMARY KEY, value BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS checkpoint (version TEXT PRIMARY KEY, size INTEGER NOT NULL);
"""
_BUSY_S = 30.0


class _Metadata(msgspec.Struct):
    uid: str = ""
    correlation_uid: str = ""


class _Entry(msgspec.Struct):
    metadata: _Metadata


_DECODER = msgspec.json.Decoder(_Entry)


class LogCopy:
    """Entries ``0 … size - 1`` of one log; safe to share between threads.

    Methods raise ``LogCopyDamaged`` when the file is not one that this class wrote.
    """

    def __init__(self, path: Path | None = None, *, alone: bool = False) -> None:
        """Open the copy in ``path``, made when missing; in memory without one.

        ``alone``: no other process opens the file until this one closes it. Then SQLite needs no
        memory that processes share, which a network file system could not give.
        """
        self._place = "log copy" if path is None else str(path)
        self._lock = threading.RLock()
        try:
            self._db = sqlite3.connect(
                ":memory:" if path is None else path,
                timeout=_BUSY_S,
                isolation_level=None,
                check_same_thread=False,
            )
            if alone:  # has an effect only before the file is first used
                self._db.execute("PRAGMA locking_mode=EXCLUSIVE")
            self._begin()
        except sqlite3.Error as error:
            raise self._damaged(error) from None
        self._edge: Edge | None = None

    def _begin(self) -> None:
        """SQLite itself waits for others, but not where several make the file at once."""
        until = time.monotonic() + _BUSY_S
        script = "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL;" + _SCHEMA
        while True:
            try:
                self._db.executescript(script)
                return
            except sqlite3.OperationalError as error:
                busy = error.sqlite_errorcode & 0xFF == sqlite3.SQLITE_BUSY
                if not busy or time.monotonic() > until:
                    raise
            time.sleep(0.01)

    def close(self) -> None:
        """Close the file."""
        self._db.close()

    @property
    def edge(self) -> Edge:
        """The right edge of the tree over all entries, which are held against it once."""
        with self._lock:
            if self._edge is None:
                self._edge = self._read_edge()
            return self._edge

    @property
    def size(self) -> int:
        """How many entries there are."""
        return self.edge.size

    def add(
        self, entries: Sequence[bytes], after: Edge, facts: Mapping[str, bytes] | None = None
    ) -> bool:
        """Add ``entries``, which make the tree's edge ``after``, and set facts; all or nothing.

        False, and nothing added, when another process that shares the file has added some.
        """
        first = after.size - len(entries)
        rows = [(first + i, *entry_key(entry), entry) for i, entry in enumerate(entries)]
        with self._lock:
            with self._changing():
                (size,) = self._db.execute("SELECT count(*) FROM entry").fetchone()
                if size != first:
                    self._edge = None
                    return False
                self._db.executemany("INSERT INTO entry VALUES (?, ?, ?, ?)", rows)
                self._db.execute("DELETE FROM tile")
                self._db.executemany("INSERT INTO tile VALUES (?, ?)", enumerate(after.tiles))
                self._db.executemany(
                    "INSERT OR REPLACE INTO fact VALUES (?, ?)", (facts or {}).items()
                )
            self._edge = after
            return True

    def hold_for(self, name: str, value: bytes) -> None:
        """Drop everything, unless this fact has this value; from now on it has.

        At once: others that share the file see all of it or nothing.
        """
        if self.fact(name) == value:
            return
        with self._lock, self._changing():
            if self.fact(name) != value:
                for table in ("entry", "tile", "fact", "checkpoint"):
                    self._db.execute(f"DELETE FROM {table}")  # noqa: S608 - names of ours
                self._db.execute("INSERT INTO fact VALUES (?, ?)", (name, value))
                self._edge = None

    def fact(self, name: str) -> bytes | None:
        """A fact that was kept with the entries."""
        rows = self._rows("SELECT value FROM fact WHERE name = ?", name)
        return bytes(rows[0][0]) if rows else None

    def set_fact(self, name: str, value: bytes) -> None:
        """Keep a fact."""
        self._rows("INSERT OR REPLACE INTO fact VALUES (?, ?)", name, value)

    def drop_fact(self, name: str) -> None:
        """Forget a fact."""
        self._rows("DELETE FROM fact WHERE name = ?", name)

    def checkpoints(self) -> dict[str, int]:
        """Versions of the checkpoint that were held against this copy, and the size of each."""
        rows = self._rows("SELECT version, size FROM checkpoint")
        return {str(version): int(size) for version, size in rows}

    def add_checkpoints(self, sizes: Mapping[str, int]) -> None:
        """Keep that these versions are of this copy's history."""
        with self._lock, self._changing():
            self._db.executemany("INSERT OR IGNORE INTO checkpoint VALUES (?, ?)", sizes.items())

    def entries(self, first: int = 0, end: int | None = None) -> Iterator[bytes]:
        """Entries from ``first`` on, in order, up to ``end`` (exclusive)."""
        while True:
            last = first + TILE_WIDTH if end is None else min(first + TILE_WIDTH, end)
            rows = self._rows(
                "SELECT data FROM entry WHERE place >= ? AND place < ? ORDER BY place", first, last
            )
            yield from (bytes(row[0]) for row in rows)
            if len(rows) < TILE_WIDTH:
                return
            first += TILE_WIDTH

    def of_run(self, run: str) -> list[tuple[int, bytes]]:
        """The entries of one run, each with its place in the log."""
        rows = self._rows("SELECT place, data FROM entry WHERE run = ? ORDER BY place", run)
        return [(int(place), bytes(data)) for place, data in rows]

    def runs(self) -> list[str]:
        """The runs that entries are of, in the order of their first ones."""
        rows = self._rows("SELECT run FROM entry WHERE run != '' GROUP BY run ORDER BY min(place)")
        return [str(row[0]) for row in rows]

    def find(self, entry_id: str) -> list[tuple[int, bytes]]:
        """The entries that have this id: one at most, in a log of ours."""
        rows = self._rows("SELECT place, data FROM entry WHERE id = ? ORDER BY place", entry_id)
        return [(int(place), bytes(data)) for place, data in rows]

    def repeated_ids(self) -> list[int]:
        """Places of the entries whose id an earlier entry has."""
        rows = self._rows(
            "SELECT place FROM entry AS late WHERE id != '' AND EXISTS (SELECT 1 FROM entry "
            "WHERE id = late.id AND place < late.place) ORDER BY place"
        )
        return [int(row[0]) for row in rows]

    def _read_edge(self) -> Edge:
        self._rows("BEGIN")  # one state of the file, whoever adds to it meanwhile
        try:
            leaves = [leaf_hash(entry) for entry in self.entries()]
            tail = tuple(self.entries(len(leaves) - len(leaves) % TILE_WIDTH))
            tiles = self._rows("SELECT data FROM tile ORDER BY level")
        finally:
            self._rows("ROLLBACK")
        edge = edge_over(tile_levels(leaves), tail)
        if edge.tiles != tuple(bytes(row[0]) for row in tiles):
            raise LogCopyDamaged(place=self._place, actual="entries and tiles differ")
        return edge

    def _rows(self, statement: str, *values: object) -> list[tuple]:  # type: ignore[type-arg]
        with self._lock:
            try:
                return self._db.execute(statement, values).fetchall()
            except sqlite3.Error as error:
                raise self._damaged(error) from None

    @contextlib.contextmanager
    def _changing(self) -> Iterator[None]:
        """All that is done inside happens at once and durably, or, after an exception, not."""
        try:
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield
                self._db.execute("COMMIT")
            except BaseException:
                self._db.execute("ROLLBACK")
                raise
        except sqlite3.Error as error:
            raise self._damaged(error) from None

    def _damaged(self, error: sqlite3.Error) -> LogCopyDamaged:
        return LogCopyDamaged(place=self._place, actual=type(error).__name__)


def entry_key(entry: bytes) -> tuple[str, str]:
    """An entry's id and run, as far as it says; empty where it does not."""
    try:
        metadata = _DECODER.decode(entry).metadata
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return "", ""
    return metadata.uid, metadata.correlation_uid
