"""Entry of the releaser process: ``python -I -m pipeline.releaser_process releaser.json``."""

from __future__ import annotations

import sys
from pathlib import Path

import msgspec

from enclave import syscalls
from pipeline.releaser import Releaser, ReleaserConfig
from pipeline.releaser_socket import serve


def main(config_file: Path) -> None:
    """Serve until the process ends. Keys pass through here: no core files, no debugger."""
    syscalls.prctl(syscalls.PR_SET_DUMPABLE, 0)
    config = msgspec.json.decode(config_file.read_bytes(), type=ReleaserConfig)
    serve(Releaser(config), Path(config.socket), allowed_uids=config.allowed_uids)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
