"""Search for a secret in every form in which it could lie around: text, encodings, token ids.

A *needle* is a name and the bytes to look for. The searches here never print what they find, only
the needle's name and the place, so that a failing test does not itself leak.
"""

from __future__ import annotations

import base64
import os
import re
import struct
import subprocess
import zlib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from mmap import PAGESIZE
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import zstandard

Needles = Mapping[str, bytes]
_PIECE = 16 << 20
_UNPACKED_MAX = 64 << 20
_GZIP, _ZSTD = b"\x1f\x8b\x08", b"\x28\xb5\x2f\xfd"
FOLDERS = tuple(
    dict.fromkeys(["/", "/tmp", "/var/tmp", "/dev/shm", "/run", str(Path("~").expanduser())])
)
"""Where anything could be written, even where it is a file system of its own."""


def text_needles(canary: str) -> dict[str, bytes]:
    """The canary as UTF-8, UTF-16, base64 at each alignment, hexadecimal, and its beginning.

    The beginning is what fits into a thread's name; it must be random too.
    """
    raw = canary.encode()
    needles = {
        "text": raw,
        "utf-16": canary.encode("utf-16-le"),
        "utf-32": canary.encode("utf-32-le"),
        "hex": raw.hex().encode(),
        "beginning": raw[:12],
    }
    return needles | base64_needles("base64", raw)


def base64_needles(name: str, raw: bytes) -> dict[str, bytes]:
    """The characters that ``raw`` gives whatever stands before and after it."""
    found = {}
    for shift in range(3):
        encoded = base64.b64encode(bytes(shift) + raw + bytes(3))
        first, last = -(-shift * 8 // 6), (shift + len(raw)) * 8 // 6
        found[f"{name}+{shift}"] = encoded[first + (1 if shift else 0) : last - 1]
    return found


def token_needles(canary: str, tokenizer: Any) -> dict[str, bytes]:
    """The token ids of the canary's inside as integers and as floats, little-endian.

    The outermost ids are left out: they depend on what stands beside the canary.
    """
    ids = tokenizer.encode(f" {canary} ").ids[3:-3]
    formats = {"int16": "H", "int32": "i", "int64": "q", "float32": "f", "float64": "d"}
    return {
        f"token ids as {name}": struct.pack(f"<{len(ids)}{code}", *ids)
        for name, code in formats.items()
    }


def in_bytes(data: bytes, needles: Needles) -> set[str]:
    """Names of the needles that are in ``data``."""
    return {name for name, needle in needles.items() if needle in data}


def in_file(path: Path, needles: Needles) -> set[str]:
    """Names of the needles in a file's content or name. A file that has gone holds nothing.

    Compressed frames anywhere in it are looked into: SeaweedFS gzips what compresses well, and
    keeps it among other objects.
    """
    found = in_bytes(os.fsencode(path.name), needles)
    with suppress(OSError), path.open("rb", buffering=0) as file:
        last = b""
        while piece := file.read(_PIECE):
            window = last + piece
            found |= in_bytes(window, needles)
            for content in _unpacked_frames(window):
                found |= in_bytes(content, needles)
            last = piece
    return found


def _unpacked_frames(data: bytes) -> Iterator[bytes]:
    """What the gzip and zstd frames that begin in ``data`` hold, as far as it goes."""
    for at in _places(data, _GZIP):
        with suppress(zlib.error):
            yield zlib.decompressobj(31).decompress(memoryview(data)[at:], _UNPACKED_MAX)
    for at in _places(data, _ZSTD):
        with suppress(zstandard.ZstdError):
            yield zstandard.ZstdDecompressor().decompressobj().decompress(memoryview(data)[at:])


def _places(data: bytes, part: bytes) -> Iterator[int]:
    at = data.find(part)
    while at >= 0:
        yield at
        at = data.find(part, at + 1)


def in_files(paths: Iterable[Path], needles: Needles) -> dict[str, set[str]]:
    """Files that hold a needle, with the needles' names."""
    found = {str(path): in_file(path, needles) for path in paths}
    return {place: names for place, names in found.items() if names}


def files_below(folder: Path) -> Iterator[Path]:
    """Every regular file, hidden ones too."""
    for root, _folders, names in os.walk(folder):
        yield from (Path(root, name) for name in names if not Path(root, name).is_symlink())


def files_changed_since(stamp: Path, folders: Iterable[str] = FOLDERS) -> Iterator[Path]:
    """Regular files changed since ``stamp`` was, on the file systems of ``folders``."""
    newer = ["(", "-newer", str(stamp), "-o", "-cnewer", str(stamp), ")"]
    # Its status is not looked at: files come and go while it walks.
    command = ["find", *folders, "-xdev", "-type", "f", *newer, "-print0"]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=False)
    for name in filter(None, done.stdout.split(b"\0")):
        yield Path(os.fsdecode(name))


def in_memory(pid: int, needles: Needles) -> set[str]:
    """Names of the needles in the writable memory of a process. Needs the right to trace it.

    Raises ``PermissionError`` where this is not allowed, and ``ProcessLookupError`` or
    ``FileNotFoundError`` for a process that has gone. Secret memory cannot be read by anybody.
    """
    found: set[str] = set()
    for data in _regions(pid, max(map(len, needles.values()))):
        found |= in_bytes(data, {k: v for k, v in needles.items() if k not in found})
    return found


def matches_in_memory(pid: int, pattern: re.Pattern[bytes]) -> set[bytes]:
    """Every match of ``pattern`` (less than 8 KiB each) in a process's writable memory."""
    return {match for data in _regions(pid, 8 << 10) for match in pattern.findall(data)}


def _regions(pid: int, overlap: int) -> Iterator[bytes]:
    """The writable memory that is really there; some libraries reserve hundreds of gigabytes."""
    maps = Path(f"/proc/{pid}/maps").read_text().splitlines()
    with (
        Path(f"/proc/{pid}/mem").open("rb", buffering=0) as memory,
        Path(f"/proc/{pid}/pagemap").open("rb", buffering=0) as pages,
    ):
        for line in maps:
            span, rights, *_ = line.split()
            if not rights.startswith("rw") or "[v" in line:
                continue
            start, stop = (int(part, 16) for part in span.split("-"))
            for first, last in _present(pages, start, stop):
                at = first
                while at < last:
                    size = min(last - at, _PIECE)
                    with suppress(OSError, ValueError):
                        memory.seek(at)
                        yield memory.read(size)
                    at += size if at + size >= last else size - overlap


def _present(pages: BinaryIO, start: int, stop: int) -> Iterator[tuple[int, int]]:
    """Runs of pages that are in memory or in swap, as addresses."""
    step = 1 << 32
    for low in range(start, stop, step):
        high = min(low + step, stop)
        pages.seek(low // PAGESIZE * 8)
        entries = np.frombuffer(pages.read((high - low) // PAGESIZE * 8), dtype=np.uint64)
        there = np.flatnonzero(entries >> np.uint64(62))
        if not len(there):
            continue
        breaks = np.flatnonzero(np.diff(there) > 1)
        firsts = there[np.concatenate(([0], breaks + 1))]
        lasts = there[np.concatenate((breaks, [len(there) - 1]))]
        for first, last in zip(firsts.tolist(), lasts.tolist(), strict=True):
            yield low + first * PAGESIZE, low + (last + 1) * PAGESIZE


def in_titles(needles: Needles, own: int) -> dict[str, set[str]]:
    """What ``ps`` shows any user of any process but ``own``: thread names and command lines."""
    found = {}
    for folder in Path("/proc").iterdir():
        if not folder.name.isdigit() or int(folder.name) == own:
            continue
        for path in (folder / "cmdline", folder / "environ", *folder.glob("task/*/comm")):
            names = in_file(path, needles)
            if names:
                found[str(path)] = names
    return found


def in_buckets(s3: Any, buckets: Iterable[str], needles: Needles) -> dict[str, set[str]]:
    """Versions of objects that hold a needle in their name, metadata or bytes."""
    found = {}
    for bucket in buckets:
        for page in s3.get_paginator("list_object_versions").paginate(Bucket=bucket):
            for version in page.get("Versions", []):
                which = {"Bucket": bucket, "Key": version["Key"]}
                answer = s3.get_object(**which, VersionId=version["VersionId"])
                said = f"{version['Key']} {answer['Metadata']} {answer['ContentType']}".encode()
                body = answer["Body"].read()
                names = set[str]().union(
                    *(in_bytes(part, needles) for part in (said, body, *_unpacked_frames(body)))
                )
                if names:
                    found[f"{bucket}/{version['Key']}"] = names
    return found
