"""The releaser process: ``python -I -m strongroom.pipeline.releaser.process releaser.json``."""

from __future__ import annotations

import sys
from pathlib import Path

import msgspec

from strongroom.enclave.sandbox import syscalls
from strongroom.pipeline.releaser.config import ReleaserConfig
from strongroom.pipeline.releaser.errors import ReleaserSettingsInvalid
from strongroom.pipeline.releaser.releaser import Releaser
from strongroom.pipeline.releaser.server import listen, serve


def main(config_file: Path) -> None:
    """Serve until the process ends. Keys pass through here: no core files, no debugger."""
    syscalls.prctl(syscalls.PR_SET_DUMPABLE, 0)
    try:
        config = msgspec.json.decode(config_file.read_bytes(), type=ReleaserConfig)
    except OSError as error:
        raise ReleaserSettingsInvalid(
            place=str(config_file), actual=error.strerror or "unreadable"
        ) from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        # Names fields, never values.
        raise ReleaserSettingsInvalid(place=str(config_file), actual=str(error)) from None
    with listen(Path(config.socket), config.allowed_uids) as server:
        serve(Releaser(config), server, config.allowed_uids)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
