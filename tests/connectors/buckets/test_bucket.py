"""What ``Bucket`` promises, on SeaweedFS, on fake-gcs-server and on a directory."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import pytest

from strongroom.connectors.buckets.bucket import Bucket, ObjectInfo
from strongroom.connectors.buckets.errors import (
    BucketError,
    BucketMissing,
    ObjectChanged,
    ObjectExists,
    ObjectMissing,
    ObjectTooLarge,
    RangeOutside,
    UriInvalid,
)
from strongroom.connectors.buckets.uri import parse

MIB = 1 << 20
RACES = 2
"""A loser can wait seconds for SeaweedFS, whose key lock is asked for once a second."""


def races(count: int, act: Callable[[int], str]) -> list[tuple[int, str]]:
    """The winners of ``count`` threads that start ``act`` at the same moment."""
    barrier = threading.Barrier(count)
    winners: list[tuple[int, str]] = []
    surprises: list[BaseException] = []

    def run(number: int) -> None:
        barrier.wait()
        try:
            winners.append((number, act(number)))
        except (ObjectExists, ObjectChanged):
            pass
        except BaseException as error:
            surprises.append(error)

    threads = [threading.Thread(target=run, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not surprises
    return winners


def test_what_is_created_can_be_read(store):
    bucket, key = store.bucket, store.key("a/first.bin")
    etag = bucket.create(key, b"hello world")
    assert bucket.head(key) == ObjectInfo(key, 11, etag)
    assert bucket.get(key) == (b"hello world", etag)
    assert b"".join(bucket.stream(key)) == b"hello world"


@pytest.mark.parametrize("data", [b"", bytearray(b"abc"), memoryview(b"abcdef")[::1]])
def test_any_buffer_can_be_created(store, data):
    bucket, key = store.bucket, store.key("buffer")
    bucket.create(key, data)
    assert bucket.get(key)[0] == bytes(data)
    assert b"".join(bucket.stream(key)) == bytes(data)


def test_a_small_iterable_is_one_object(store):
    bucket, key = store.bucket, store.key("pieces")
    bucket.create(key, (piece for piece in (b"ab", b"", bytearray(b"cd"), memoryview(b"e"))))
    assert bucket.get(key)[0] == b"abcde"


def test_text_is_no_buffer(store):
    with pytest.raises(TypeError):
        store.bucket.create(store.key("text"), "text")


def test_create_never_overwrites(store):
    bucket, key = store.bucket, store.key("once")
    bucket.create(key, b"first")
    with pytest.raises(ObjectExists) as caught:
        bucket.create(key, b"second")
    assert caught.value.place == str(store.location.child("once"))
    assert bucket.get(key)[0] == b"first"


def test_a_large_create_never_overwrites(store):
    bucket, key = store.bucket, store.key("once-large")
    bucket.create(key, b"first")
    with pytest.raises(ObjectExists):
        bucket.create(key, (bytes(MIB) for _ in range(20)))
    assert bucket.get(key)[0] == b"first"


def test_of_16_racing_creates_one_wins(store):
    bucket = store.bucket
    bucket.create(store.key("warm"), b"")
    for round_ in range(RACES):
        key = store.key(f"race-{round_}")
        winners = races(16, lambda number, key=key: bucket.create(key, b"%d" % number))
        assert len(winners) == 1
        number, etag = winners[0]
        assert bucket.get(key) == (b"%d" % number, etag)


def test_of_16_racing_replaces_one_wins(store):
    bucket, key = store.bucket, store.key("cas")
    etag = bucket.create(key, b"before")
    for round_ in range(RACES):
        winners = races(
            16,
            lambda number, etag=etag, round_=round_: bucket.replace(
                key, b"%d in %d" % (number, round_), etag
            ),
        )
        assert len(winners) == 1
        number, etag = winners[0]
        assert bucket.get(key) == (b"%d in %d" % (number, round_), etag)


def test_replace_follows_versions(store):
    bucket, key = store.bucket, store.key("versions")
    first = bucket.create(key, b"1")
    second = bucket.replace(key, b"2", first)
    assert second != first
    with pytest.raises(ObjectChanged):
        bucket.replace(key, b"3", first)
    assert bucket.get(key) == (b"2", second)


def test_replace_of_nothing_has_changed(store):
    etag = store.bucket.create(store.key("other"), b"1")
    with pytest.raises(ObjectChanged):
        store.bucket.replace(store.key("nothing"), b"2", etag)
    with pytest.raises(ObjectMissing):
        store.bucket.head(store.key("nothing"))


def test_ranges_are_exact(store):
    bucket, key = store.bucket, store.key("range")
    bucket.create(key, bytes(range(100)))
    assert bucket.get_range(key, 0, 100) == bytes(range(100))
    assert bucket.get_range(key, 99, 1) == b"\x63"
    assert bucket.get_range(key, 10, 5) == bytes(range(10, 15))
    assert bucket.get_range(key, 10, 0) == b""
    for start, length in ((99, 2), (100, 1), (1000, 10)):
        with pytest.raises(RangeOutside):
            bucket.get_range(key, start, length)
    with pytest.raises(ValueError, match="negative"):
        bucket.get_range(key, -1, 2)


def test_get_refuses_more_than_it_may(store):
    bucket, key = store.bucket, store.key("large")
    bucket.create(key, bytes(1000))
    with pytest.raises(ObjectTooLarge) as caught:
        bucket.get(key, max_bytes=999)
    assert caught.value.actual == "1000 bytes"
    assert len(bucket.get(key, max_bytes=1000)[0]) == 1000


def test_40_mib_go_through_in_pieces(store):
    bucket, key = store.bucket, store.key("deep/er/large.bin")
    pieces = [bytes([number]) * (3 * MIB + number) for number in range(14)]
    etag = bucket.create(key, iter(pieces))
    expected = b"".join(pieces)
    assert bucket.head(key) == ObjectInfo(key, len(expected), etag)
    chunks = list(bucket.stream(key, chunk_bytes=4 * MIB))
    assert {len(chunk) for chunk in chunks[:-1]} == {4 * MIB}
    assert b"".join(chunks) == expected
    assert bucket.get_range(key, 8 * MIB - 3, 6) == expected[8 * MIB - 3 : 8 * MIB + 3]


def test_one_large_buffer_is_created_whole(store):
    bucket, key = store.bucket, store.key("large-buffer")
    data = bytes(range(256)) * (20 * MIB // 256)
    bucket.create(key, memoryview(data))
    assert b"".join(bucket.stream(key)) == data


def test_a_stream_is_one_version_also_when_the_object_is_gone_or_shorter(s3_store, seaweed):
    bucket, name = s3_store.bucket, s3_store.location.bucket
    for change in (
        lambda: seaweed.client().delete_object(Bucket=name, Key="o"),
        lambda: seaweed.client().put_object(Bucket=name, Key="o", Body=b"short"),
    ):
        seaweed.client().put_object(Bucket=name, Key="o", Body=bytes(4 * MIB))
        stream = bucket.stream("o", chunk_bytes=MIB)
        next(stream)
        change()
        with pytest.raises(ObjectChanged):
            b"".join(stream)


def test_a_stream_of_a_changed_object_stops(store):
    bucket, key = store.bucket, store.key("changing")
    etag = bucket.create(key, bytes(MIB) * 4)
    stream = bucket.stream(key, chunk_bytes=MIB)
    assert len(next(stream)) == MIB
    bucket.replace(key, b"x" * 4 * MIB, etag)
    with pytest.raises(ObjectChanged):
        b"".join(stream)


def test_a_stream_can_be_left_early(store):
    bucket, key = store.bucket, store.key("left")
    bucket.create(key, bytes(4 * MIB))
    before = threading.active_count()
    stream = bucket.stream(key, chunk_bytes=MIB)
    next(stream)
    stream.close()
    assert threading.active_count() <= before


def broken() -> Iterator[bytes]:
    for _ in range(20):
        yield bytes(MIB)
    raise RuntimeError("the source broke")


def test_a_broken_source_leaves_no_object(store):
    bucket, key = store.bucket, store.key("broken/object")
    with pytest.raises(RuntimeError, match="the source broke"):
        bucket.create(key, broken())
    with pytest.raises(ObjectMissing):
        bucket.head(key)
    assert list(bucket.list(store.key("broken/"))) == []
    bucket.create(key, b"second try")


def test_list_gives_what_is_below_the_prefix(store):
    bucket = store.bucket
    etags = {
        store.key(name): bucket.create(store.key(name), name.encode())
        for name in ("in/a", "in/b/c", "in/b/d", "inner", "out/e")
    }
    found = {info.key: info for info in bucket.list(store.key("in/"))}
    assert set(found) == {store.key(name) for name in ("in/a", "in/b/c", "in/b/d")}
    for key, info in found.items():
        assert info == bucket.head(key)
        assert info.etag == etags[key]
    assert list(bucket.list(store.key("nothing/"))) == []
    assert len(list(bucket.list(store.location.key))) == 5


def test_a_prefix_ends_in_a_slash(store):
    with pytest.raises(UriInvalid):
        store.bucket.list(store.key("in/")[:-1])


def test_1100_objects_are_all_listed(s3_store, seaweed):
    client = seaweed.client()
    put = partial(client.put_object, Bucket=s3_store.location.bucket, Body=b"")
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda number: put(Key=f"many/{number:04}"), range(1100)))
    assert len({info.key for info in s3_store.bucket.list("many/")}) == 1100


@pytest.mark.parametrize(
    "read",
    [
        lambda bucket, key: bucket.head(key),
        lambda bucket, key: bucket.get(key),
        lambda bucket, key: bucket.get_range(key, 0, 1),
        lambda bucket, key: bucket.stream(key),
    ],
    ids=["head", "get", "get_range", "stream"],
)
def test_a_missing_object_and_a_missing_bucket_differ(store, read):
    where = store.location.child("missing")
    with pytest.raises(ObjectMissing) as caught:
        read(store.bucket, where.key)
    assert caught.value.place == str(where)
    if where.scheme == "gs":
        return  # fake-gcs-server answers both alike
    elsewhere = parse(
        str(store.location.child("no-such/"))
        if where.scheme == "local"
        else f"{where.scheme}://no-such-{store.location.bucket}/"
    )
    with pytest.raises(BucketMissing):
        read(store.open(elsewhere), elsewhere.child("missing").key)


def test_bad_keys_reach_no_store(store):
    bucket: Bucket = store.bucket
    for name in ("", "a/", "../a", "a//b", "a/./b", "a*", "a\x00b", "%2e%2e/a"):
        key = store.location.key + name
        for act in (
            lambda: bucket.create(key, b""),  # noqa: B023
            lambda: bucket.replace(key, b"", "1"),  # noqa: B023
            lambda: bucket.head(key),  # noqa: B023
            lambda: bucket.get(key),  # noqa: B023
            lambda: bucket.get_range(key, 0, 1),  # noqa: B023
            lambda: bucket.stream(key),  # noqa: B023
        ):
            with pytest.raises(UriInvalid):
                act()


def test_every_failure_is_a_bucket_error(store):
    with pytest.raises(BucketError) as caught:
        store.bucket.head(store.key("nothing"))
    assert caught.value.code.startswith("SR-BUCKET-")
    assert caught.value.fix
