"""A folder that is there as a whole or not at all, and files that are moved and not read."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from strongroom.enclave.channel.errors import ChannelViolation
from strongroom.pipeline.keyholder.errors import DestinationTaken, ExportNotWritten
from strongroom.pipeline.keyholder.export_folder import (
    check_free,
    fill_file,
    new_folder,
    write_file,
)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_the_folder_gets_its_name_last(tmp_path: Path) -> None:
    target = tmp_path / "out"
    with new_folder(target) as folder:
        write_file(folder / "one" / "two.json", b"{}")
        assert not target.exists()
        assert folder.stat().st_mode & 0o777 == 0o700
    assert names(tmp_path) == ["out"]
    assert (target / "one" / "two.json").read_bytes() == b"{}"
    assert (target / "one" / "two.json").stat().st_mode & 0o777 == 0o600


def test_a_failure_leaves_nothing(tmp_path: Path) -> None:
    def fail(folder: Path) -> None:
        write_file(folder / "half", b"half")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), new_folder(tmp_path / "out") as folder:
        fail(folder)
    assert names(tmp_path) == []


@pytest.mark.parametrize("what", ["file", "full", "dangling", "link"])
def test_whatever_is_there_stays(what: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine").write_text("mine")
    (tmp_path / "empty").mkdir()
    (tmp_path / "dangling").symlink_to(tmp_path / "nowhere")
    (tmp_path / "link").symlink_to(tmp_path / "empty")
    with pytest.raises(DestinationTaken):
        check_free(tmp_path / what)
    check_free(tmp_path / "empty")
    check_free(tmp_path / "new")
    with pytest.raises(ExportNotWritten):
        check_free(tmp_path / "no" / "parent")


def test_a_folder_that_fills_up_meanwhile_stays_too(tmp_path: Path) -> None:
    target = tmp_path / "out"
    target.mkdir()

    def export() -> None:
        with new_folder(target) as folder:
            write_file(folder / "ours", b"")
            (target / "theirs").write_text("mine")

    with pytest.raises(ExportNotWritten) as caught:
        export()
    assert caught.value.actual == "ENOTEMPTY"
    assert names(tmp_path) == ["out"]
    assert names(target) == ["theirs"]


def test_a_pipe_becomes_a_file(tmp_path: Path) -> None:
    """More than a pipe holds."""
    data = os.urandom(1 << 20)
    reader, writer = os.pipe()

    def write() -> None:
        with os.fdopen(writer, "wb") as pipe:
            pipe.write(data)

    thread = threading.Thread(target=write)
    thread.start()
    fill_file(tmp_path / "file", reader, len(data))
    thread.join()
    os.close(reader)
    assert (tmp_path / "file").read_bytes() == data


def test_more_than_was_agreed_is_refused(tmp_path: Path) -> None:
    reader, writer = os.pipe()
    os.write(writer, b"12345")
    os.close(writer)
    with pytest.raises(ChannelViolation):
        fill_file(tmp_path / "file", reader, 4)
    os.close(reader)


def test_a_file_that_is_there_is_not_written_to(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"mine")
    with pytest.raises(ExportNotWritten) as caught:
        write_file(tmp_path / "file", b"ours")
    assert caught.value.actual == "EEXIST"
    assert (tmp_path / "file").read_bytes() == b"mine"
