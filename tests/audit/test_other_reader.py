"""Logs that the product writes, checked by a program that others wrote: `make test-log-readers`."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest

from strongroom.audit.log.store import DirectoryStore
from support.logs import LogMaker

PROGRAM = Path(__file__).parents[1] / "support/programs/other_reader.py"
SIZES = (1, 2, 255, 256, 257, 700)
LARGE = 66_001
"""Entries of a log with a third level of tiles, of which some are looked up."""


@pytest.fixture(scope="module")
def python():
    """The interpreter that has aics-tlog."""
    found = os.environ.get("LOG_READER_PYTHON")
    if not found:
        pytest.skip("aics-tlog, which needs Python 3.12, is only for `make test-log-readers`")
    return found


@pytest.fixture(scope="module")
def maker():
    return LogMaker()


def grown(maker, tmp_path, sizes):
    """A log that grew in steps, and its checkpoints on the way."""
    folder, kept, size = tmp_path / "log", [], 0
    written = maker.sequencer(DirectoryStore(folder))
    for wanted in sizes:
        written.append([f"entry {place}".encode() for place in range(size, wanted)])
        kept.append(tmp_path / f"checkpoint-{wanted}")
        kept[-1].write_bytes((folder / "checkpoint").read_bytes())
        size = wanted
    return folder, kept


@pytest.fixture
def log(maker, tmp_path):
    return grown(maker, tmp_path, SIZES)


def read(python, folder, vkey, kept=()):
    command = [python, PROGRAM, folder, vkey, *kept]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_every_entry_is_included_and_every_head_extends_the_earlier_ones(python, maker, log):
    folder, kept = log
    result = read(python, folder, maker.vkey, kept)
    assert result.returncode == 0, result.stderr
    found = json.loads(result.stdout)
    assert (found["size"], found["included"]) == (SIZES[-1], SIZES[-1])
    assert found["consistent"] == len(SIZES)


def test_a_log_of_three_levels(python, maker, tmp_path):
    folder, kept = grown(maker, tmp_path, (255, 65_537, LARGE))
    result = read(python, folder, maker.vkey, kept)
    assert result.returncode == 0, result.stderr
    found = json.loads(result.stdout)
    assert (found["size"], found["bundles"], found["consistent"]) == (LARGE, 258, 3)
    assert found["included"] == found["looked_up"] > 50


@pytest.mark.parametrize("name", ["checkpoint", "tile/0/000", "tile/1/000.p/2", "tile/entries/000"])
def test_it_notices_a_byte_that_differs(python, maker, log, name):
    folder, _ = log
    path = folder / name
    changed = bytearray(path.read_bytes())
    changed[len(changed) // 2] ^= 1
    path.write_bytes(changed)
    assert read(python, folder, maker.vkey).returncode == 1


def test_it_notices_another_history_under_the_same_key(python, maker, log, tmp_path):
    """What only who kept an earlier checkpoint can."""
    _, kept = log
    other = maker.sequencer(DirectoryStore(tmp_path / "fork"))
    other.append([f"another entry {place}".encode() for place in range(SIZES[-1])])
    result = read(python, tmp_path / "fork", maker.vkey, kept[-2:])
    assert (result.returncode, json.loads(result.stdout)["consistent"]) == (0, 0)
