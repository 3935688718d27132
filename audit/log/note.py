"""Checkpoints as C2SP signed notes, and the verifier keys that go with them.

A checkpoint is three lines (origin, size, root) signed with Ed25519 under a key whose name is the
log's origin (https://c2sp.org/tlog-checkpoint, https://c2sp.org/signed-note). Parsing is strict:
base64 must be canonical and extension lines are refused, so that no byte of a note this product
wrote can change unnoticed. Signatures by keys that nobody asked about are ignored, as the format
asks.

A witness is somebody else who has seen a log, and who cosigns checkpoints that extend what it saw
before (https://c2sp.org/tlog-cosignature): its signature is over the time and the checkpoint.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
import struct
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import ClassVar, TypeVar

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from strongroom.audit.log.errors import (
    CheckpointMalformed,
    CheckpointUntrusted,
    CosignatureMissing,
    KeyMalformed,
    OriginMismatch,
    SignerMismatch,
)

NOTE_BYTES_MAX = 16_384
_ED25519, _COSIGNATURE = b"\x01", b"\x04"
_NAME = re.compile(r"[!-*,-~]{1,255}")
K = TypeVar("K", bound="LogKey")
_SIZE = re.compile(r"0|[1-9][0-9]{0,18}")


@dataclass(frozen=True)
class LogKey:
    """The public half of a log's key: its name (the log's origin) and 32 raw Ed25519 bytes."""

    name: str
    public_key: bytes

    kind: ClassVar[bytes] = _ED25519
    """The signature type of C2SP."""

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise KeyMalformed(
                place="origin", expected="printable ASCII without spaces and plus signs"
            )
        if len(self.public_key) != 32:
            raise KeyMalformed(
                place=self.name, expected="32 bytes", actual=f"{len(self.public_key)} bytes"
            )

    @property
    def key_id(self) -> bytes:
        """SHA-256(name ‖ newline ‖ kind ‖ key)[:4]."""
        text = self.name.encode() + b"\n" + self.kind + self.public_key
        return hashlib.sha256(text).digest()[:4]

    def vkey(self) -> str:
        """The key as one line: ``name+hex(key id)+base64(kind ‖ key)``."""
        encoded = base64.b64encode(self.kind + self.public_key).decode()
        return f"{self.name}+{self.key_id.hex()}+{encoded}"


class WitnessKey(LogKey):
    """The public half of a witness's key."""

    kind: ClassVar[bytes] = _COSIGNATURE


def parse_vkey(text: str) -> LogKey:
    """Read a log's verifier key line; raises ``KeyMalformed``."""
    return _parse_key(text, LogKey)


def parse_witness(text: str) -> WitnessKey:
    """Read a witness's verifier key line; raises ``KeyMalformed``."""
    return _parse_key(text, WitnessKey)


def _parse_key(text: str, kind: type[K]) -> K:
    name, _, rest = text.strip().partition("+")
    key_id, _, encoded = rest.partition("+")
    raw = _canonical_b64(encoded)
    if raw is None or raw[:1] != kind.kind:
        raise KeyMalformed(
            place=name[:80] or "verifier key",
            expected=f"name+hex+base64 of an Ed25519 key of type {kind.kind.hex()}",
        )
    key = kind(name, raw[1:])
    if key.key_id.hex() != key_id:
        raise KeyMalformed(place=name, expected=f"key id {key.key_id.hex()}", actual=key_id[:16])
    return key


def root_text(root: bytes) -> str:
    """A root as checkpoints have it."""
    return base64.b64encode(root).decode()


@dataclass(frozen=True)
class Checkpoint:
    """A log's head: ``size`` entries under the 32-byte ``root``."""

    origin: str
    size: int
    root: bytes

    def text(self) -> bytes:
        """The signed text."""
        return f"{self.origin}\n{self.size}\n{root_text(self.root)}\n".encode()


def sign_checkpoint(
    checkpoint: Checkpoint, public_key: bytes, sign: Callable[[bytes], bytes]
) -> bytes:
    """The checkpoint as a signed note.

    ``sign`` returns a raw Ed25519 signature over its argument. Raises ``SignerMismatch`` when
    ``public_key`` does not verify it, so that a wrong key never reaches the log.
    """
    key = LogKey(checkpoint.origin, public_key)
    text = checkpoint.text()
    signature = sign(text)
    if not _verifies(public_key, signature, text):
        raise SignerMismatch(place=checkpoint.origin)
    line = base64.b64encode(key.key_id + signature).decode()
    return text + f"\n\u2014 {key.name} {line}\n".encode()


def open_checkpoint(note: bytes, key: LogKey, origin: str, *, place: str) -> Checkpoint:
    """Verify a note and return its checkpoint.

    Raises ``CheckpointMalformed``, ``CheckpointUntrusted`` or ``OriginMismatch``, naming
    ``place``. Nothing of the text is looked at before its signature is verified.
    """
    text, lines = _split(note, place)
    wanted = key.name
    matched = False
    for name, blob in lines:
        if name != wanted or blob[:4] != key.key_id:
            continue
        if not _verifies(key.public_key, blob[4:], text):
            raise CheckpointUntrusted(place=place, expected=f"a signature by {wanted}")
        matched = True
    if not matched:
        raise CheckpointUntrusted(
            place=place, expected=f"a signature by {wanted}+{key.key_id.hex()}"
        )
    return _parse_text(text, origin, place)


def cosign(
    note: bytes, witness: WitnessKey, sign: Callable[[bytes], bytes], at: int, *, place: str
) -> bytes:
    """The note with a witness's signature added, at ``at`` seconds since 1970.

    What a witness must check first is its own business: that the checkpoint is the log's, and
    extends the last one that it signed.
    """
    text, _ = _split(note, place)
    blob = witness.key_id + struct.pack(">Q", at) + sign(_cosigned(at, text))
    return note + f"\u2014 {witness.name} {base64.b64encode(blob).decode()}\n".encode()


def check_cosignatures(
    note: bytes, witnesses: Iterable[WitnessKey], *, place: str
) -> dict[str, int]:
    """When each witness signed this note, in seconds since 1970, by its name.

    Raises ``CosignatureMissing`` for the first that did not.
    """
    text, lines = _split(note, place)
    found: dict[str, int] = {}
    for witness in witnesses:
        for name, blob in lines:
            if name != witness.name or blob[:4] != witness.key_id or len(blob) != 4 + 8 + 64:
                continue
            (at,) = struct.unpack(">Q", blob[4:12])
            if _verifies(witness.public_key, blob[12:], _cosigned(at, text)):
                found[name] = at
        if witness.name not in found:
            raise CosignatureMissing(place=place, expected=f"a signature by {witness.name}")
    return found


def _cosigned(at: int, text: bytes) -> bytes:
    return f"cosignature/v1\ntime {at}\n".encode() + text


def _parse_text(text: bytes, origin: str, place: str) -> Checkpoint:
    lines = text.decode(errors="replace").split("\n")
    if len(lines) != 4 or not _SIZE.fullmatch(lines[1]):
        raise CheckpointMalformed(place=place, expected="origin, size and root, a line each")
    root = _canonical_b64(lines[2])
    if root is None or len(root) != 32:
        raise CheckpointMalformed(place=place, expected="a root of 32 bytes in base64")
    if lines[0] != origin:
        raise OriginMismatch(place=place, expected=origin, actual=lines[0][:255])
    return Checkpoint(origin, int(lines[1]), root)


def _split(note: bytes, place: str) -> tuple[bytes, list[tuple[str, bytes]]]:
    """A note's text and its signatures as (key name, key id ‖ signature)."""
    malformed = CheckpointMalformed(place=place, expected="a signed note (text, blank line, — …)")
    if len(note) > NOTE_BYTES_MAX or any(byte < 0x20 and byte != 0x0A for byte in note):
        raise malformed
    head, blank, tail = note.rpartition(b"\n\n")
    if not blank or not tail.endswith(b"\n"):
        raise malformed
    try:
        head.decode()
        rows = tail[:-1].decode().split("\n")
    except UnicodeDecodeError:
        raise malformed from None
    signatures: list[tuple[str, bytes]] = []
    for row in rows:
        parts = row.split(" ")
        blob = _canonical_b64(parts[2]) if len(parts) == 3 else None
        if blob is None or len(blob) < 5 or parts[0] != "\u2014" or not parts[1]:
            raise malformed
        signatures.append((parts[1], blob))
    return head + b"\n", signatures


def _canonical_b64(text: str) -> bytes | None:
    """Decoded base64, or None unless encoding it again gives the same text."""
    try:
        raw = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return None
    return raw if base64.b64encode(raw).decode() == text else None


def _verifies(public_key: bytes, signature: bytes, text: bytes) -> bool:
    try:
        Ed25519PublicKey.from_public_bytes(public_key).verify(signature, text)
    except (InvalidSignature, ValueError):
        return False
    return True
