"""What became of the process at the other end of a channel that broke."""

from __future__ import annotations

import subprocess


def ending(process: subprocess.Popen[bytes]) -> str:
    """How the process ended, for an error; it is given five seconds to end."""
    try:
        status = process.wait(timeout=5)
    except subprocess.TimeoutExpired:
        return "it closed its channel"
    return f"signal {-status}" if status < 0 else f"exit status {status}"
