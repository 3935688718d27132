"""The JSON document that each bench prints last: its figures, of which version, and on what."""

from __future__ import annotations

import json
import os
import platform
import shlex
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from strongroom.trainer.model.processor import has_bfloat16


def command() -> str:
    """The command that is running, as a person would type it."""
    return shlex.join(["python", *sys.argv])


def device_name(device: str) -> str:
    """What ``device`` (torch's name) is: "cpu" or the model of the GPU."""
    if device == "cpu":
        return device
    # Not every bench needs torch, which takes seconds to import.
    import torch

    return torch.cuda.get_device_name(device)


def run_precision(device: str = "cpu") -> str:
    """The base model's type: bfloat16 on a GPU, else what ``model.precision: auto`` is here."""
    return "bfloat16" if device == "cuda" or has_bfloat16() else "float32"


def _processor() -> str:
    """The model that Linux names first; "" where it names none."""
    for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return ""


def _commit() -> str:
    """This checkout's commit, with a "+" where tracked files differ; "" outside of a checkout."""
    command = ["git", "describe", "--always", "--exclude=*", "--abbrev=12", "--dirty=+"]
    folder = Path(__file__).parent
    done = subprocess.run(command, cwd=folder, check=False, capture_output=True, text=True)
    return done.stdout.strip()


def taken_on() -> dict[str, Any]:
    """Of which version, when and on what; ``load`` is the machine's of the last five minutes."""
    return {
        "commit": _commit(),
        "date": f"{datetime.now(UTC):%Y-%m-%d}",
        "machine": platform.machine(),
        "processor": _processor(),
        "cores": os.cpu_count(),
        "load": round(os.getloadavg()[1], 1),
        "python": platform.python_version(),
    }


def document(bench: str, figures: dict[str, Any]) -> str:
    """One line of JSON."""
    return json.dumps({"bench": bench, "command": command(), **taken_on(), **figures})
