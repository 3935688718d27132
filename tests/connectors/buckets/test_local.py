"""What only directories have: links, crashes, full and read-only file systems."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from strongroom.connectors.buckets.errors import (
    AccessDenied,
    BucketMissing,
    ObjectExists,
    ObjectMissing,
    StoreFault,
    StoreFull,
    StoreReadOnly,
    UriInvalid,
)
from strongroom.connectors.buckets.local import ASIDE
from strongroom.connectors.buckets.open import open_bucket
from strongroom.connectors.buckets.uri import parse

MIB = 1 << 20


def folder(store) -> Path:
    return Path("/" + store.location.key)


def test_nothing_outside_the_directory_is_touched(local_store, tmp_path):
    secret = tmp_path / "secret"
    secret.write_bytes(b"outside")
    bucket = local_store.bucket
    for act in (
        lambda: bucket.get(str(secret)[1:]),
        lambda: bucket.create(str(tmp_path / "new")[1:], b""),
        lambda: list(bucket.list(str(tmp_path)[1:] + "/")),
    ):
        with pytest.raises(AccessDenied):
            act()
    assert not (tmp_path / "new").exists()


def test_links_are_not_followed(local_store, tmp_path):
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "secret").write_bytes(b"outside")
    (folder(local_store) / "file").symlink_to(outside / "secret")
    (folder(local_store) / "dir").symlink_to(outside)
    bucket = local_store.bucket
    for name in ("file", "dir/secret"):
        with pytest.raises((AccessDenied, ObjectMissing)):
            bucket.get(local_store.key(name))
        # The control: by its path the very file opens.
        assert (folder(local_store) / name).read_bytes() == b"outside"
    with pytest.raises((AccessDenied, ObjectExists)):
        bucket.create(local_store.key("file"), b"over it")
    with pytest.raises((AccessDenied, ObjectMissing)):
        bucket.create(local_store.key("dir/new"), b"inside")
    assert sorted(path.name for path in outside.iterdir()) == ["secret"]
    assert (outside / "secret").read_bytes() == b"outside"


def test_lists_leave_out_links(local_store, tmp_path):
    (tmp_path / "outside").write_bytes(b"outside")
    local_store.bucket.create(local_store.key("inside"), b"")
    (folder(local_store) / "link").symlink_to(tmp_path / "outside")
    (folder(local_store) / "links").symlink_to(tmp_path)
    found = [info.key for info in local_store.bucket.list(local_store.location.key)]
    assert found == [local_store.key("inside")]


def test_a_pipe_is_no_object(local_store):
    os.mkfifo(folder(local_store) / "pipe")
    with pytest.raises(ObjectMissing):
        local_store.bucket.get(local_store.key("pipe"))


def test_the_directory_is_made_by_the_first_create(tmp_path):
    where = parse(f"local://{tmp_path}/not/yet/")
    bucket = open_bucket(where)
    with pytest.raises(BucketMissing):
        bucket.head(where.child("k").key)
    bucket.create(where.child("k").key, b"data")
    assert bucket.get(where.child("k").key)[0] == b"data"
    assert (tmp_path / "not").stat().st_mode & 0o077 == 0


def test_an_object_opens_the_directory_that_holds_it(local_store):
    local_store.bucket.create(local_store.key("a"), b"1")
    where = local_store.location.child("a")
    assert open_bucket(where).get(where.key)[0] == b"1"


def test_unfinished_files_are_neither_listed_nor_read(local_store):
    (folder(local_store) / f"{ASIDE}0123").write_bytes(b"half")
    assert list(local_store.bucket.list(local_store.location.key)) == []
    with pytest.raises(UriInvalid):
        local_store.bucket.get(local_store.key(f"{ASIDE}0123"))


def test_a_killed_write_leaves_no_object(local_store):
    program = f"""
import os, signal
from strongroom.connectors.buckets.open import open_bucket
from strongroom.connectors.buckets.uri import parse
def pieces():
    for _ in range(8):
        yield bytes(1 << 20)
    os.kill(os.getpid(), signal.SIGKILL)
where = parse({str(local_store.location)!r})
open_bucket(where).create(where.child("k").key, pieces())
"""
    done = subprocess.run([sys.executable, "-c", program], cwd=Path(__file__).parents[3])
    assert done.returncode == -signal.SIGKILL
    assert [path.name.startswith(ASIDE) for path in folder(local_store).iterdir()] == [True]
    with pytest.raises(ObjectMissing):
        local_store.bucket.head(local_store.key("k"))
    local_store.bucket.create(local_store.key("k"), b"again")


def test_a_file_where_a_directory_is_needed(local_store):
    local_store.bucket.create(local_store.key("a"), b"")
    with pytest.raises((StoreFault, ObjectMissing)):
        local_store.bucket.create(local_store.key("a/b"), b"")
    with pytest.raises(ObjectMissing):
        local_store.bucket.get(local_store.key("a/b"))


def test_a_write_over_the_limit_says_that_the_store_is_full(local_store):
    program = f"""
import resource, signal
from strongroom.connectors.buckets.open import open_bucket
from strongroom.connectors.buckets.errors import StoreFull
from strongroom.connectors.buckets.uri import parse
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, 1 << 20))
where = parse({str(local_store.location)!r})
try:
    open_bucket(where).create(where.child("k").key, bytes(4 << 20))
except StoreFull as error:
    print(error.code, error.actual)
"""
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=Path(__file__).parents[3],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "SR-BUCKET-013 EFBIG\n"
    assert list(folder(local_store).iterdir()) == []


def test_full_and_read_only_file_systems(tmp_path):
    mounted = tmp_path / "small"
    mounted.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(mounted)]
    if subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("mounting a small tmpfs needs CAP_SYS_ADMIN")
    try:
        where = parse(f"local://{mounted}/")
        with pytest.raises(StoreFull):
            open_bucket(where).create(where.child("k").key, bytes(4 * MIB))
        assert list(mounted.iterdir()) == []
        subprocess.run(["mount", "-o", "remount,ro", str(mounted)], check=True)
        with pytest.raises(StoreReadOnly):
            open_bucket(where).create(where.child("k").key, b"")
    finally:
        subprocess.run(["umount", str(mounted)], check=True)


def test_replaces_of_two_buckets_of_one_directory_exclude_each_other(local_store):
    key = local_store.key("k")
    etag = local_store.bucket.create(key, b"0")
    barrier, wins = threading.Barrier(8), []

    def write(number: int) -> None:
        bucket = open_bucket(parse(str(local_store.location)))
        barrier.wait()
        try:
            wins.append(bucket.replace(key, b"from %d" % number, etag))
        except Exception as error:
            losses.append(error)

    losses: list[Exception] = []
    threads = [threading.Thread(target=write, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(wins) == 1
    assert len(losses) == 7
