"""A model learns to answer what a tool told it: trainer, environment and its process together."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import Any

import pytest

from support import PROGRAMS, PYTHONPATH


def train(sign: str) -> dict[str, Any]:
    ours, theirs = os.pipe()
    command = [sys.executable, "-B", str(PROGRAMS / "train_with_tools.py"), str(theirs), sign]
    environment = {"OMP_NUM_THREADS": "1", "PATH": os.environ["PATH"]} | PYTHONPATH
    process = subprocess.Popen(command, pass_fds=[theirs], env=environment)
    os.close(theirs)
    with process, os.fdopen(ours, "rb") as pipe:
        text = pipe.read()
    assert process.returncode == 0
    return dict(json.loads(text))


@pytest.mark.full
def test_the_reward_of_the_last_turn_rises_and_falls_with_its_sign():
    """The control is the same training for the opposite: what rises with one falls with it."""
    for sign, rises in (("1", True), ("-1", False)):
        found = train(sign)
        rewards = found["rewards"]
        rise = sum(rewards[-5:]) / 5 - sum(rewards[:5]) / 5
        assert (rise > 0.2) if rises else (rise < 0.0), rewards
        assert found["gap"] < 1e-4
        assert found["roles"] == ["system", "user", "assistant", "tool"]
        assert found["numbers"]
        assert found["told"] > 0.1
