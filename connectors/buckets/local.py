"""A directory as a bucket: for unit tests and for use without a network.

Invariants: an object appears whole (written aside, synced, then linked or renamed into place)
and stays after a crash; paths are walked segment by segment without following links, so nothing
outside the opened directory is read or written; an etag is the SHA-256 of the content.
It does not defend against another process of the same user that edits files in place.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import os
import secrets
import stat
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from strongroom.connectors.buckets.bucket import (
    CHUNK_BYTES,
    MAX_GET_BYTES,
    ObjectInfo,
    ObjectVersion,
)
from strongroom.connectors.buckets.errors import (
    AccessDenied,
    BucketMissing,
    ObjectChanged,
    ObjectExists,
    ObjectMissing,
    ObjectTooLarge,
    RangeOutside,
    StoreFault,
    StoreFull,
    StoreReadOnly,
    UriInvalid,
)
from strongroom.connectors.buckets.local_files import (
    READ,
    exists,
    read_at,
    stamp,
    step,
    sync,
    write_all,
)
from strongroom.connectors.buckets.parts import parts
from strongroom.connectors.buckets.uri import Location, check_key

if TYPE_CHECKING:
    from typing_extensions import Buffer

ASIDE = ".strongroom-"
"""How the names of unfinished files begin; keys that begin so are refused and never listed."""

_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_BLOCK_BYTES = 1 << 20


def open_location(
    location: Location, _credentials: object, _endpoint: str | None, _region: str
) -> LocalBucket:
    """See ``connectors.buckets.open``."""
    return LocalBucket(location)


class LocalBucket:
    """All files below one directory; see ``connectors.buckets.bucket.Bucket`` for the promises.

    The directory is the prefix that ``location`` names (for an object: the one that holds it).
    It is made by the first ``create``. Lists read every file, for the etags.
    """

    def __init__(self, location: Location) -> None:
        self._base = location.key[: location.key.rfind("/") + 1]
        self._root = Location("local", "", self._base)

    def head(self, key: str) -> ObjectInfo:
        with self._opened(key) as file:
            return self._info(key, file)

    def get(self, key: str, max_bytes: int = MAX_GET_BYTES) -> tuple[bytes, str]:
        with self._opened(key) as file:
            size_bytes = os.fstat(file).st_size
            if size_bytes > max_bytes:
                raise ObjectTooLarge(
                    place=self._place(key),
                    expected=f"at most {max_bytes} bytes",
                    actual=f"{size_bytes} bytes",
                )
            body = read_at(file, 0, size_bytes)
            return body, _etag(hashlib.sha256(body))

    def get_version(self, key: str, version: str, max_bytes: int = MAX_GET_BYTES) -> bytes:
        if version:
            raise ObjectMissing(
                place=self._place(key), expected=f"version {version}", actual="none"
            )
        return self.get(key, max_bytes)[0]

    def versions(self, prefix: str) -> Iterator[ObjectVersion]:
        for info in self.list(prefix):
            yield ObjectVersion(
                info.key,
                "",
                current=True,
                deleted=False,
                etag=info.etag,
                size_bytes=info.size_bytes,
            )

    def get_range(self, key: str, start: int, length: int) -> bytes:
        if start < 0 or length < 0:
            raise ValueError("a range has no negative bounds")
        if length == 0:
            return b""
        with self._opened(key) as file:
            size_bytes = os.fstat(file).st_size
            if start + length > size_bytes:
                raise RangeOutside(
                    place=self._place(key),
                    expected=f"at least {start + length} bytes",
                    actual=f"{size_bytes} bytes",
                )
            return read_at(file, start, length)

    def stream(self, key: str, chunk_bytes: int = CHUNK_BYTES) -> Iterator[memoryview]:
        if chunk_bytes < 1:
            raise ValueError("a chunk has at least one byte")
        return self._chunks(key, self._stamp(key), chunk_bytes)

    def create(self, key: str, data: Buffer | Iterable[Buffer]) -> str:
        with self._folder_of(key, make=True) as (folder, name):
            if exists(folder, name):
                raise self._taken(key)
            with self._aside(key, folder, data) as (aside, etag):
                try:
                    os.link(
                        aside, name, src_dir_fd=folder, dst_dir_fd=folder, follow_symlinks=False
                    )
                except FileExistsError:
                    raise self._taken(key) from None
            os.fsync(folder)
            return etag

    def replace(self, key: str, data: Buffer, etag: str) -> str:
        try:
            with self._folder_of(key) as (folder, name):
                # One writer at a time in this directory; the lock goes with the descriptor.
                fcntl.flock(folder, fcntl.LOCK_EX)
                found = self.head(key).etag
                if found != etag:
                    raise ObjectChanged(
                        place=self._place(key),
                        expected=f"version {etag}",
                        actual=f"version {found}",
                    )
                with self._aside(key, folder, memoryview(data).cast("B")) as (aside, new):
                    os.rename(aside, name, src_dir_fd=folder, dst_dir_fd=folder)
                os.fsync(folder)
                return new
        except (ObjectMissing, BucketMissing) as error:
            actual = error.title
        raise ObjectChanged(place=self._place(key), expected=f"version {etag}", actual=actual)

    def list(self, prefix: str) -> Iterator[ObjectInfo]:
        place = f"local:///{prefix}"
        check_key(prefix, place=place, prefix=True)
        if prefix and not prefix.endswith("/"):
            raise UriInvalid(place=place, expected="a prefix that ends in '/'", actual="a key")
        return self._listed(prefix)

    def _listed(self, prefix: str) -> Iterator[ObjectInfo]:
        prefix = prefix or self._base
        try:
            with self._folder_of(prefix + "any") as (folder, _), os.scandir(folder) as entries:
                found = sorted(
                    (entry.name, entry.is_dir(follow_symlinks=False))
                    for entry in entries
                    if not entry.is_symlink() and not entry.name.startswith(ASIDE)
                )
        except ObjectMissing:
            return
        for name, is_folder in found:
            if is_folder:
                yield from self._listed(f"{prefix}{name}/")
            else:
                # Gone since, or no file at all: neither is an object.
                with contextlib.suppress(ObjectMissing):
                    yield self.head(prefix + name)

    def _chunks(
        self, key: str, began: tuple[int, int, int], chunk_bytes: int
    ) -> Iterator[memoryview]:
        size_bytes = began[1]
        with self._opened(key) as file:
            for start in range(0, size_bytes, chunk_bytes):
                chunk = read_at(file, start, min(chunk_bytes, size_bytes - start))
                # The descriptor keeps the old version readable, so ask for both.
                try:
                    unchanged = stamp(os.fstat(file)) == began == self._stamp(key)
                except ObjectMissing:
                    unchanged = False
                if not unchanged:
                    raise ObjectChanged(
                        place=self._place(key), expected="one version", actual="another version"
                    )
                yield memoryview(chunk)

    @contextlib.contextmanager
    def _opened(self, key: str) -> Iterator[int]:
        with self._folder_of(key) as (folder, name):
            # Not blocking, or opening a pipe would wait for its writer.
            file = os.open(name, READ | os.O_NONBLOCK, dir_fd=folder)
            try:
                if not stat.S_ISREG(os.fstat(file).st_mode):
                    raise ObjectMissing(
                        place=self._place(key), expected="a file", actual="something else"
                    )
                yield file
            finally:
                os.close(file)

    @contextlib.contextmanager
    def _folder_of(self, key: str, make: bool = False) -> Iterator[tuple[int, str]]:
        """The open directory that holds ``key``, and the name of the object in it."""
        check_key(key, place="local:///")
        if not key.startswith(self._base):
            raise AccessDenied(
                place=self._place(key), expected=f"a key below {self._root}", actual="another key"
            )
        *folders, name = key[len(self._base) :].split("/")
        if any(segment.startswith(ASIDE) for segment in (*folders, name)):
            raise UriInvalid(place=self._place(key), expected=f"no name in {ASIDE}*")
        with self._errors(key):
            folder = self._open_base(make)
            try:
                for segment in folders:
                    inner = step(folder, segment, make)
                    os.close(folder)
                    folder = inner
                yield folder, name
            finally:
                os.close(folder)

    def _open_base(self, make: bool) -> int:
        path = Path("/" + self._base)
        if make:
            for folder in (*reversed(path.parents), path):
                if not folder.exists():
                    folder.mkdir(mode=0o700, exist_ok=True)
                    sync(folder.parent)
        try:
            return os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except (FileNotFoundError, NotADirectoryError):
            raise BucketMissing(
                place=str(self._root), expected="a directory", actual="none"
            ) from None

    @contextlib.contextmanager
    def _aside(
        self, key: str, folder: int, data: Buffer | Iterable[Buffer]
    ) -> Iterator[tuple[str, str]]:
        """The content on disk under a name of its own, which is gone afterwards; and its etag."""
        name = ASIDE + secrets.token_hex(8)
        digest = hashlib.sha256()
        file = os.open(name, _NEW, 0o600, dir_fd=folder)
        try:
            try:
                for piece in parts(data, _BLOCK_BYTES):
                    digest.update(piece)
                    write_all(file, piece)
                os.fsync(file)
            finally:
                os.close(file)
            yield name, _etag(digest)
        finally:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(name, dir_fd=folder)

    @contextlib.contextmanager
    def _errors(self, key: str) -> Iterator[None]:
        """Raise what the system says as an error of our own."""
        try:
            yield
        except OSError as error:
            place = self._place(key)
            actual = errno.errorcode.get(error.errno or 0, "an unknown error")
            raise _BY_ERRNO.get(error.errno or 0, StoreFault)(place=place, actual=actual) from None

    def _stamp(self, key: str) -> tuple[int, int, int]:
        with self._opened(key) as file:
            return stamp(os.fstat(file))

    def _info(self, key: str, file: int) -> ObjectInfo:
        digest, size_bytes = hashlib.sha256(), 0
        while block := os.pread(file, _BLOCK_BYTES, size_bytes):
            digest.update(block)
            size_bytes += len(block)
        return ObjectInfo(key, size_bytes, _etag(digest))

    def _place(self, key: str) -> str:
        return f"local:///{key}"

    def _taken(self, key: str) -> ObjectExists:
        return ObjectExists(place=self._place(key), expected="no object", actual="a file")


_BY_ERRNO = {
    errno.EACCES: AccessDenied,
    errno.EDQUOT: StoreFull,
    errno.EFBIG: StoreFull,
    errno.ELOOP: AccessDenied,
    errno.ENAMETOOLONG: UriInvalid,
    errno.ENOENT: ObjectMissing,
    errno.ENOSPC: StoreFull,
    errno.ENOTDIR: ObjectMissing,
    errno.EPERM: AccessDenied,
    errno.EROFS: StoreReadOnly,
}


def _etag(digest: hashlib._Hash) -> str:
    return f"sha256:{digest.hexdigest()}"
