"""The benches run, at a size that says nothing of speed: what nobody can repeat is no figure."""

import json
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
    return found


def test_decrypt():
    assert document("decrypt", "--mib", "2", "--pairs", "3", ends=(0, 1))["ratio"] > 0


def test_decode():
    found = document("decode", "--rounds", "1", "--max-tokens", "3", "--samples", "1")
    assert found["decode"][0]["batch"] == 4


@pytest.mark.slow
def test_sandbox_cost():
    found = document("sandbox_cost", "--steps", "2", ends=(0, 1))
    assert found["same_work"] == found["steps"] == 2


@pytest.mark.slow
def test_dataset_stream(tmp_path):
    options = ("--gib", "0.02", "--shard-mib", "4", "--folder", str(tmp_path))
    found = document("dataset_stream", *options, ends=(0, 1))
    assert found["shards"] > 2
    assert found["rss_samples"] > 0
    assert not list(tmp_path.iterdir())
