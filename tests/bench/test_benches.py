"""The benches run, at a size that says nothing of speed: what nobody can repeat is no figure."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def document(bench, *options, ends=(0,)):
    """The JSON that a bench prints last."""
    command = [sys.executable, f"bench/{bench}.py", *options, "--json"]
    done = subprocess.run(command, cwd=ROOT, check=False, capture_output=True, text=True)
    assert done.returncode in ends, done.stderr
    assert done.stdout, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["bench"] == bench
    assert re.fullmatch(r"([0-9a-f]{12}\+?)?", found["commit"])
    return found


RECORDS = sorted((ROOT / "bench" / "results").glob("*.json"))


@pytest.mark.parametrize("record", RECORDS, ids=lambda path: path.stem)
def test_a_kept_record_says_of_which_version_and_machine_it_is(record):
    found = json.loads(record.read_text())
    assert re.fullmatch(r"[0-9a-f]{12}", found["commit"]), "not of a clean checkout"
    assert re.fullmatch(r"\d{4}-\d\d-\d\d", found["date"])
    assert found["processor"]
    assert found["cores"] > 0


def test_decrypt():
    assert document("decrypt", "--mib", "2", "--pairs", "3", ends=(0, 1))["ratio"] > 0


@pytest.mark.full
def test_decode():
    found = document("decode", "--rounds", "1", "--max-tokens", "3", "--samples", "1")
    assert found["decode"][0]["batch"] == 4


@pytest.mark.full
def test_enclave_start():
    found = document("enclave_start", "--pairs", "1", ends=(0, 1))
    assert found["guarded_s"] > 0 < found["believing_s"]


@pytest.mark.full
def test_sandbox_cost():
    found = document("sandbox_cost", "--steps", "2", ends=(0, 1))
    assert found["same_work"] == found["steps"] == 2


@pytest.mark.full
def test_dataset_stream(tmp_path):
    options = ("--gib", "0.02", "--shard-mib", "4", "--folder", str(tmp_path))
    found = document("dataset_stream", *options, ends=(0, 1))
    assert found["shards"] > 2
    assert found["rss_samples"] > 0
    assert not list(tmp_path.iterdir())
