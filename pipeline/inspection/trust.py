"""What whoever verifies brings: the log's key, checkpoints that they kept, witnesses they trust."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from strongroom.audit.log.copy import LogCopy
from strongroom.audit.log.note import NOTE_BYTES_MAX, WitnessKey, parse_vkey, parse_witness
from strongroom.pipeline.inspection.errors import ReaderFileUnreadable


@dataclass(frozen=True)
class Trust:
    """What a log is held to. ``copy`` is what this machine has read of it before."""

    vkey: str
    copy: LogCopy | None = None
    since: Mapping[str, bytes] = field(default_factory=dict)
    """Checkpoints that the log has to extend, by where they come from."""
    witnesses: Sequence[WitnessKey] = ()


def read_key(given: str | None) -> str | None:
    """A log's verifier key: the line itself, or what a file of that name holds.

    Raises ``KeyMalformed``, also for an empty one, and ``ReaderFileUnreadable``.
    """
    return None if given is None else parse_vkey(_line(given)).vkey()


def read_witness(given: str) -> WitnessKey:
    """A witness's verifier key, given likewise."""
    return parse_witness(_line(given))


def read_note(path: Path) -> bytes:
    """A checkpoint that somebody kept. Raises ``ReaderFileUnreadable``."""
    try:
        with path.open("rb") as file:
            return file.read(NOTE_BYTES_MAX + 1)
    except OSError as error:
        raise ReaderFileUnreadable(place=str(path), actual=error.strerror or "") from None


def _line(given: str) -> str:
    """The text of a key: a key has a plus sign, and where a file is named so the file is meant."""
    with contextlib.suppress(OSError):  # a key can be longer than a file's name may be
        if given and ("+" not in given or Path(given).is_file()):
            return read_note(Path(given)).decode(errors="replace").strip()
    return given
