"""A zstd file is whole or refused, wherever it was cut."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import zstandard

from strongroom.enclave.channel.errors import NotCompressed
from strongroom.enclave.rows.zstd_frames import check_whole

TEXT = os.urandom(300_000) + b"x" * 500_000 + b"line\n" * 1000


@pytest.fixture
def check(tmp_path: Path) -> Iterator[Callable[[bytes], None]]:
    path = tmp_path / "archive"
    opened: list[int] = []

    def run(data: bytes) -> None:
        path.write_bytes(data)
        opened.append(os.open(path, os.O_RDONLY))
        check_whole(opened[-1])

    yield run
    for descriptor in opened:
        os.close(descriptor)


def frame(text: bytes = TEXT, **options: bool) -> bytes:
    parameters = zstandard.ZstdCompressionParameters.from_level(3, **options)
    return zstandard.ZstdCompressor(compression_params=parameters).compress(text)


@pytest.mark.parametrize(
    "data",
    [
        frame(),
        frame(write_checksum=True),
        frame(write_content_size=False),
        frame(b""),
        frame(b"", write_checksum=True),
        frame() + frame(b"more"),
        b"\x52\x2a\x4d\x18\x03\0\0\0abc" + frame() + b"\x50\x2a\x4d\x18\0\0\0\0",
    ],
    ids=["plain", "checksum", "no size", "empty", "empty, checksum", "two", "skippable"],
)
def test_whole_files_pass(check, data):
    assert zstandard.ZstdDecompressor().stream_reader(data, read_across_frames=True).readall() in (
        TEXT,
        TEXT + b"more",
        b"",
    )
    check(data)


@pytest.mark.parametrize("options", [{}, {"write_checksum": True}])
def test_cut_files_do_not(check, options):
    data = frame(**options)
    for cut in (1, 3, 4, 5, len(data) // 2, len(data) - 20, len(data) - 4):
        with pytest.raises(NotCompressed):
            check(data[:-cut])


def test_every_cut_of_a_small_file_is_seen(check):
    data = frame(b"line\n" * 20, write_checksum=True)
    for length in range(1, len(data)):
        with pytest.raises(NotCompressed):
            check(data[:length])


@pytest.mark.parametrize("more", [b"\0", b"garbage after the frame", b"\x50\x2a\x4d\x18\xff\0\0\0"])
def test_something_behind_the_frame_is_refused(check, more):
    with pytest.raises(NotCompressed):
        check(frame() + more)
