"""The releaser's process, started with the name of its settings' file."""

from __future__ import annotations

from pathlib import Path

import msgspec

from strongroom.enclave.sandbox import syscalls
from strongroom.pipeline.releaser.config import ReleaserConfig
from strongroom.pipeline.releaser.errors import ReleaserSettingsInvalid
from strongroom.pipeline.releaser.releaser import Releaser
from strongroom.pipeline.releaser.server import listen, serve


def main(settings: str) -> None:
    """Serve until the process ends. Keys pass through here: no core files, no debugger."""
    syscalls.prctl(syscalls.PR_SET_DUMPABLE, 0)
    config_file = Path(settings)
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
