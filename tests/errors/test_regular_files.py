"""Files that somebody else names: regular, in their folder, and never waited for."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from strongroom.errors.regular_files import open_beneath, read_beneath


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "folder"
    (path / "inner").mkdir(parents=True)
    (path / "file").write_bytes(b"content")
    (path / "empty").write_bytes(b"")
    (tmp_path / "outside").write_bytes(b"secret")
    return path


def test_a_file_and_a_link_to_it_within_the_folder_are_read(folder: Path) -> None:
    (folder / "link").symlink_to("file")
    (folder / "inner" / "up").symlink_to("../file")
    for name in ("file", "link", "inner/up"):
        assert read_beneath(folder, name, 100) == b"content"
    assert read_beneath(folder, "empty", 100) == b""
    assert read_beneath(folder, "file", 3) == b"cont"  # so that the caller sees that it is longer


@pytest.mark.parametrize("target", ["../outside", "../folder/file", "/etc/passwd", "inner/../../x"])
def test_a_link_out_of_the_folder_is_refused(folder: Path, target: str) -> None:
    (folder / "link").symlink_to(target)
    with pytest.raises(OSError, match=r"out of its folder|No such file"):
        read_beneath(folder, "link", 100)


def test_the_control_a_plain_open_follows_it(folder: Path) -> None:
    (folder / "link").symlink_to("../outside")
    assert (folder / "link").read_bytes() == b"secret"


def test_what_is_no_file_is_refused_and_not_waited_for(folder: Path) -> None:
    os.mkfifo(folder / "pipe")
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(folder / "socket"))
        for name in ("pipe", "socket", "inner", "missing", "file/x"):
            with pytest.raises(OSError), open_beneath(folder, name):
                pass


@pytest.mark.parametrize(
    "path", ["/proc/self/environ", "/proc/self/maps", "/dev/null", "/dev/zero"]
)
def test_what_the_kernel_makes_up_is_refused(path: str) -> None:
    with pytest.raises(OSError):
        read_beneath(Path(path).parent, Path(path).name, 100)


def test_a_link_of_the_kernel_s_own_is_refused(folder: Path) -> None:
    with (folder / "file").open("rb") as file, pytest.raises(OSError):
        read_beneath(Path("/proc/self/fd"), str(file.fileno()), 100)
