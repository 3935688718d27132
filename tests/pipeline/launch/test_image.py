"""The image holds every shared library that the installed wheels ask the system for."""

from __future__ import annotations

import mmap
import re
import struct
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
IN_THE_BASE = {
    "ld-linux-x86-64.so.2": "libc6",
    "libc.so.6": "libc6",
    "libdl.so.2": "libc6",
    "libm.so.6": "libc6",
    "libpthread.so.0": "libc6",
    "librt.so.1": "libc6",
    "libutil.so.1": "libc6",
    "libgcc_s.so.1": "libgcc-s1",
    "libstdc++.so.6": "libstdc++6",
    "libz.so.1": "zlib1g",
}
"""What Debian's slim image of Python brings, with apt and Python themselves."""
PACKAGES = {**IN_THE_BASE, "libatomic.so.1": "libatomic1"}
"""Debian's package of each library."""
LOAD, DYNAMIC = 1, 2
NEEDED, STRTAB = 1, 5


def needed(file: Path) -> list[str]:
    """The ``NEEDED`` entries of a 64-bit ELF file; none where it is no such file."""
    with file.open("rb") as opened:
        if opened.read(5) != b"\x7fELF\x02":
            return []
        data = mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ)
    at, size, count = *struct.unpack_from("<Q", data, 32), *struct.unpack_from("<HH", data, 54)
    loads, dynamic = [], b""
    for index in range(count):
        kind, _flags, offset, address, _, length = struct.unpack_from(
            "<IIQQQQ", data, at + index * size
        )
        if kind == LOAD:
            loads.append((address, offset, length))
        elif kind == DYNAMIC:
            dynamic = data[offset : offset + length]
    entries = list(struct.iter_unpack("<QQ", dynamic[: len(dynamic) // 16 * 16]))
    strings = next((value for tag, value in entries if tag == STRTAB), 0)
    base = next((o + strings - a for a, o, n in loads if a <= strings < a + n), 0)
    names = [base + value for tag, value in entries if tag == NEEDED]
    return [data[name : data.find(b"\0", name)].decode() for name in names]


def shared_objects(name: str) -> Iterator[Path]:
    """The shared objects of an installed wheel."""
    for file in distribution(name).files or ():
        if re.search(r"\.so(\.|$)", file.name):
            yield Path(str(file.locate()))


def asked_of_the_system() -> dict[str, set[str]]:
    """Each library that no wheel brings itself, with the packages that want it."""
    pins = (ROOT / "constraints.txt").read_text().splitlines()
    wanted: dict[str, set[str]] = {}
    brought: set[str] = set()
    for name in (line.partition("==")[0] for line in pins if not line.startswith("#")):
        try:
            files = list(shared_objects(name))
        except PackageNotFoundError:  # of another platform
            continue
        brought |= {file.name for file in files}
        for library in {library for file in files for library in needed(file)}:
            wanted.setdefault(library, set()).add(name)
    return {library: names for library, names in wanted.items() if library not in brought}


@pytest.fixture(scope="module")
def asked() -> dict[str, set[str]]:
    return asked_of_the_system()


def test_the_reader_of_needed_entries_sees_what_the_interpreter_links_to(asked):
    """The control."""
    assert "regopy" in asked["libatomic.so.1"]
    assert {"libc.so.6", "libstdc++.so.6"} <= set(asked)


def test_what_wheels_ask_of_the_system_is_in_the_image(asked):
    text = (ROOT / "Dockerfile").read_text().rpartition("\nFROM ")[2].replace("\\\n", " ")
    found = re.findall(r"apt-get install((?: [a-z0-9.+-]+)+)", text)
    installed = {word for words in found for word in words.split() if not word.startswith("-")}
    lacking = {
        library: sorted(names)
        for library, names in asked.items()
        if library not in IN_THE_BASE and PACKAGES.get(library) not in installed
    }
    assert lacking == {}
