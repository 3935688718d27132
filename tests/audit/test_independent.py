"""Logs that the product writes, checked by the reader that shares no code with it."""

from __future__ import annotations

import ast
import os
import secrets
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from strongroom.audit import independent
from strongroom.audit.log.store import DirectoryStore
from strongroom.audit.log.tlog import covered
from strongroom.audit.log.verify import check_log
from support.logs import LogMaker

READER = Path(independent.__file__)


def write_log(folder, *counts, maker=None):
    maker = maker or LogMaker()
    log = maker.sequencer(DirectoryStore(folder))
    for count in counts:
        log.append([secrets.token_hex(8).encode() for _ in range(count)])
    return maker, log


def run(folder, vkey, *rest, start=("-m", "strongroom.audit.independent")):
    command = [sys.executable, "-I", *start, folder, vkey, *rest]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def verify(folder, maker, earlier=None):
    """Names of what is wrong, and of what is not in the log."""
    problems, foreign, _ = independent.verify(folder, independent.Key(maker.vkey), earlier)
    return {name for name, _ in problems}, set(foreign)


@pytest.mark.parametrize("counts", [(1,), (5, 1, 2), (255, 1, 1), (256,), (1000, 3)])
def test_the_product_s_logs_verify(tmp_path, counts):
    maker, _ = write_log(tmp_path, *counts)
    result = run(tmp_path, maker.vkey)
    assert result.returncode == 0, result.stdout + result.stderr
    assert result.stdout.startswith(f"ok: {sum(counts)} entries, root ")
    assert result.stdout.count("\n") == 1


def test_it_runs_as_a_copied_file(tmp_path):
    maker, _ = write_log(tmp_path / "log", 3)
    copied = shutil.copy(READER, tmp_path / "reader.py")
    assert run(tmp_path / "log", maker.vkey, start=(copied,)).returncode == 0


def test_two_levels_of_tiles_verify(tmp_path):
    maker, _ = write_log(tmp_path, 66_000, 5)
    assert (tmp_path / "tile/2/000.p/1").is_file()
    assert verify(tmp_path, maker) == (set(), set())


def test_it_imports_nothing_but_the_standard_library_and_cryptography():
    tree = ast.parse(READER.read_text())
    found = {
        name.partition(".")[0]
        for node in ast.walk(tree)
        for name in (
            [each.name for each in node.names]
            if isinstance(node, ast.Import)
            else [node.module or ""]
            if isinstance(node, ast.ImportFrom)
            else []
        )
    }
    assert found - set(sys.stdlib_module_names) == {"cryptography"}


def test_any_flipped_byte_is_named_as_the_product_names_it(tmp_path):
    maker, log = write_log(tmp_path, 3, 1, 2)
    bundle = "tile/entries/000.p/6"
    whole_log = {"checkpoint", bundle}  # what the others are computed from
    under = {"checkpoint", *covered(list(log.memory.entries()))}
    flips = 0
    for path in sorted(path for path in tmp_path.rglob("*") if path.is_file()):
        good, name = path.read_bytes(), path.relative_to(tmp_path).as_posix()
        for at in range(len(good)):
            broken = bytearray(good)
            broken[at] ^= 1 << at % 8
            path.write_bytes(broken)
            problems, foreign = verify(tmp_path, maker)
            if name in whole_log:
                assert problems == {"log"}, f"{name} byte {at}"
            elif name in under:
                assert problems == {name}, f"{name} byte {at}"
            else:
                kept = set() if name.startswith("next/") else {name}
                assert (problems, foreign) == (set(), kept), f"{name} byte {at}"
            flips += 1
        path.write_bytes(good)
    assert flips > 1300
    assert verify(tmp_path, maker) == (set(), set())


@pytest.mark.parametrize("name", ["tile/0/000.p/6", "tile/entries/000.p/6", "checkpoint"])
@pytest.mark.parametrize("how", ["gone", "link", "folder", "pipe"])
def test_a_missing_object_fails(tmp_path, name, how):
    maker, _ = write_log(tmp_path / "log", 6)
    path = tmp_path / "log" / name
    kept = path.rename(tmp_path / "kept")
    if how == "link":
        path.symlink_to(kept)
    elif how == "folder":
        path.mkdir()
    elif how == "pipe":
        os.mkfifo(path)
    assert run(tmp_path / "log", maker.vkey).returncode == 5


def test_what_came_after_the_copied_checkpoint_is_named_and_no_failure(tmp_path):
    maker, log = write_log(tmp_path, 200)
    head = (tmp_path / "checkpoint").read_bytes()
    log.append([b"late"] * 100)
    (tmp_path / "checkpoint").write_bytes(head)
    late = {"next/200", "tile/0/000", "tile/0/001.p/44", "tile/1/000.p/1"}
    late |= {"tile/entries/000", "tile/entries/001.p/44"}
    assert verify(tmp_path, maker) == (set(), late)
    rows, _ = check_log(DirectoryStore(tmp_path), maker.vkey, maker.origin)
    assert {row.object for row in rows if row.noted} == late, "the product says the same"
    # What the log has left behind may go: the full objects do for the partial ones.
    for part in ("tile/entries/000.p/200", "tile/0/000.p/200"):
        (tmp_path / part).unlink()
    rest = late - {"tile/entries/000", "tile/0/000"}
    assert verify(tmp_path, maker) == (set(), rest)


def test_a_foreign_file_is_named_without_its_control_characters(tmp_path):
    maker, _ = write_log(tmp_path, 6)
    (tmp_path / "notes\n\x1b[2J.txt").write_text("hello")
    result = run(tmp_path, maker.vkey)
    assert result.returncode == 0
    assert result.stdout.splitlines()[0] == "note: notes\\n\\x1b[2J.txt: not in the log"


def test_another_key_fails_and_a_malformed_one_is_said(tmp_path):
    maker, _ = write_log(tmp_path / "log", 6)
    assert run(tmp_path / "log", LogMaker().vkey).returncode == 5
    for vkey in ("", "nonsense", maker.vkey[:-2], maker.vkey.replace("+", "-")):
        assert run(tmp_path / "log", vkey).returncode == 2
    assert run(tmp_path / "log", maker.vkey, "no/such/file").returncode == 2


def test_an_earlier_checkpoint_tells_a_rollback_and_a_fork(tmp_path):
    maker, log = write_log(tmp_path / "log", 3)
    notes = [(tmp_path / "log/checkpoint").read_bytes()]
    log.append([b"more"])
    notes.append((tmp_path / "log/checkpoint").read_bytes())
    kept = dict(zip(("three", "four"), notes, strict=True))
    assert verify(tmp_path / "log", maker, kept) == (set(), set())
    (tmp_path / "log/checkpoint").write_bytes(notes[0])
    assert verify(tmp_path / "log", maker)[0] == set(), "a first reader is fooled"
    assert verify(tmp_path / "log", maker, kept)[0] == {"four"}
    write_log(tmp_path / "fork", 9, maker=maker)
    assert verify(tmp_path / "fork", maker)[0] == set(), "a first reader is fooled"
    assert verify(tmp_path / "fork", maker, kept)[0] == {"three", "four"}
    for number, note in enumerate(notes):
        (tmp_path / f"kept{number}").write_bytes(note)
    names = [str(tmp_path / f"kept{number}") for number in range(2)]
    assert run(tmp_path / "fork", maker.vkey, *names).returncode == 5
