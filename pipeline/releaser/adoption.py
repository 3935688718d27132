"""Taking over a log that the releaser does not remember, as its owner decides."""

from __future__ import annotations

from pathlib import Path

from strongroom.audit.log.errors import CheckpointForked
from strongroom.audit.log.note import NOTE_BYTES_MAX, LogKey, open_checkpoint
from strongroom.audit.log.reader import check_prefix, read_log
from strongroom.pipeline.broker.log import log_origin
from strongroom.pipeline.releaser.errors import ReleaserSettingsInvalid
from strongroom.pipeline.releaser.log_store import LeasedLog
from strongroom.pipeline.releaser.process import ADOPTED, open_memory, opener, read_config


def adopt(config_file: Path, checkpoint: Path) -> int:
    """Read the log in the bucket into the releaser's memory; returns how many entries it has.

    The log must be signed by the releaser's key, extend the trusted ``checkpoint``, and begin with
    what is remembered. Raises the integrity errors of ``audit.log.errors``, and ``ReleaserRuns``.
    """
    config, _ = read_config(config_file)
    try:
        note = checkpoint.read_bytes()[:NOTE_BYTES_MAX]
    except OSError as error:
        raise ReleaserSettingsInvalid(
            place=str(checkpoint), actual=error.strerror or "unreadable"
        ) from None
    memory = open_memory(config)
    store = LeasedLog(config.log)
    try:
        key = LogKey(log_origin(config.log.uri), opener(config)(config.log.key).public_key())
        view = read_log(store, key.vkey(), key.name)
        trusted = open_checkpoint(note, key, key.name, place=str(checkpoint))
        check_prefix(view.copy, trusted, str(checkpoint))
        known, entries = list(memory.entries()), view.entries
        if entries[: len(known)] != tuple(known):
            raise CheckpointForked(place=config.log.memory, expected="the beginning of the log")
        edge, _ = memory.edge.extend(entries[len(known) :])
        memory.add(entries[len(known) :], edge, {ADOPTED: b"1"})
    finally:
        store.close()
        memory.close()
    return len(entries)
