"""Real training under the lock-down: torch, transformers, peft, tokenizers and safetensors."""

from __future__ import annotations

import json
import os
import subprocess
import sys

from strongroom.enclave.sandbox import probe_names
from support import PROGRAMS


def train(stage: str) -> dict[str, object]:
    ours, theirs = os.pipe()
    command = [sys.executable, "-I", "-B", str(PROGRAMS / "train_tiny.py"), str(theirs), stage]
    null = subprocess.DEVNULL
    process = subprocess.Popen(
        command, pass_fds=[theirs], env={}, stdin=null, stdout=null, stderr=null
    )
    os.close(theirs)
    with process, os.fdopen(ours, "rb") as pipe:
        text = pipe.read()
    assert process.returncode == 0
    return dict(json.loads(text))


def test_training_is_the_same_under_both_stages():
    plain, locked = (train(stage) for stage in ("none", "AB"))
    assert locked["losses"] == plain["losses"]
    assert locked["adapter_bytes"] == plain["adapter_bytes"] > 0
    probes = locked["probes"]
    assert all(probes[name] in ("blocked", "absent") for name in probe_names.TRIED)
    assert probes["inherited_fds"] == "0"  # the libraries leave no descriptor open
    assert plain["probes"]["fork"] == "open"
