"""A user without privileges, where tests can become one."""

from __future__ import annotations

import functools
import os
import shutil
import subprocess
import sys


@functools.cache
def nobody() -> tuple[str, ...] | str:
    """The command that runs another command without privileges, or why that cannot be."""
    if os.geteuid() != 0:
        return ()
    if shutil.which("setpriv") is None:
        return "no setpriv to become an unprivileged user with"
    command = ("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups")
    program = "import msgspec, strongroom.enclave, cryptography"
    trial = subprocess.run(
        [*command, sys.executable, "-I", "-c", program], capture_output=True, check=False
    )
    return command if trial.returncode == 0 else "the environment is unreadable to other users"
