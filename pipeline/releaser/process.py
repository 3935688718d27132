"""The releaser's process, started with the name of its settings' file."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import msgspec

from strongroom.audit.events.types import ReleaserStarted
from strongroom.audit.log.copy import LogCopy
from strongroom.audit.log.note import LogKey
from strongroom.audit.log.sequencer import Sequencer
from strongroom.connectors.host.folders import private_folder
from strongroom.connectors.keys.kms import Kms
from strongroom.connectors.keys.open import open_kms
from strongroom.crypto.digests import Sha256, sha256
from strongroom.enclave.sandbox import syscalls
from strongroom.pipeline.broker.log import log_origin
from strongroom.pipeline.releaser.config import ReleaserConfig
from strongroom.pipeline.releaser.errors import ReleaserRuns, ReleaserSettingsInvalid
from strongroom.pipeline.releaser.log_store import LeasedLog
from strongroom.pipeline.releaser.notary import Notary
from strongroom.pipeline.releaser.releaser import Releaser
from strongroom.pipeline.releaser.server import listen, serve
from strongroom.policies.bundle import read_bundle

MEMORY = "log.sqlite3"
LOCK = "lock"
ADOPTED = "adopted"
"""A fact of a memory that was taken from a bucket, until the releaser has said so."""


def read_config(config_file: Path) -> tuple[ReleaserConfig, Sha256]:
    """The settings in a file, and their digest. Raises ``ReleaserSettingsInvalid``."""
    try:
        data = config_file.read_bytes()
        return msgspec.json.decode(data, type=ReleaserConfig), sha256(data)
    except OSError as error:
        raise ReleaserSettingsInvalid(
            place=str(config_file), actual=error.strerror or "unreadable"
        ) from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        # Names fields, never values.
        raise ReleaserSettingsInvalid(place=str(config_file), actual=str(error)) from None


def opener(config: ReleaserConfig) -> Callable[[str], Kms]:
    """Opens keys with the releaser's identity."""
    return lambda ref: open_kms(
        ref,
        vault_addr=config.vault_addr,
        credentials_file=Path(config.credentials_file),
    )


def open_memory(config: ReleaserConfig) -> LogCopy:
    """What the releaser remembers of the log, for this process alone.

    Raises ``ReleaserRuns`` while another one has it. The lock ends with the process. It is on a
    file that is open for writing: on a folder NFS would lock it for this machine only.
    """
    folder = private_folder(Path(config.log.memory))
    lock = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(lock)
        raise ReleaserRuns(place=str(folder)) from None
    return LogCopy(folder / MEMORY, alone=True)


def sequencer(config: ReleaserConfig, memory: LogCopy, store: LeasedLog) -> Sequencer:
    """The log of the settings, on this memory; it is not started yet."""
    key = opener(config)(config.log.key)
    return Sequencer(store, memory, LogKey(log_origin(config.log.uri), key.public_key()), key.sign)


def main(settings: str) -> None:
    """Serve until the process ends. Keys pass through here: no core files, no debugger."""
    syscalls.prctl(syscalls.PR_SET_DUMPABLE, 0)
    config, digest = read_config(Path(settings))
    memory = open_memory(config)
    store = LeasedLog(config.log)
    log = sequencer(config, memory, store)
    notary = Notary(log, owners={f"uid:{uid}" for uid in (os.getuid(), 0)})
    store.on_lease = notary.note
    adopted = memory.fact(ADOPTED) is not None
    known: Literal["new", "kept", "adopted"] = "kept" if memory.size else "new"
    log.start()
    notary.say(
        "",
        ReleaserStarted(
            settings=digest,
            policy=read_bundle(Path(config.policy)).digest,
            measurements=config.measurements,
            signers=config.signers,
            min_assurance=config.min_assurance,
            memory="adopted" if adopted else known,
        ),
    )
    if adopted:
        memory.drop_fact(ADOPTED)
    releaser = Releaser(config, notary, log.key.vkey(), opener(config))
    with listen(Path(config.socket), config.allowed_uids) as server:
        serve(releaser, server, config.allowed_uids)
