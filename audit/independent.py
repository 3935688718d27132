"""A reader of a log in a folder that shares no code with the rest of the product.

It is written from the C2SP texts (tlog-tiles, tlog-checkpoint, signed-note) and RFC 6962 alone, so
that both readers would have to be wrong in the same way. It needs only the standard library and
``cryptography``, and runs as a file that was copied to another machine, too::

    python -I -m strongroom.audit.independent FOLDER VKEY [CHECKPOINT ...]

FOLDER holds the objects under the log's prefix, VKEY is the log's verifier key, and each CHECKPOINT
a file with an earlier one that somebody kept: the log has to extend it.

Exit code 0 and one line beginning with ``ok`` when all holds, 5 and a line for each problem when
something does not, 2 when it was called in another way. Lines that begin with ``note`` name what
lies in the folder and is not in the log: objects that came after the copied checkpoint, and what
somebody else put there. Whether the entries tell of a run as it can have been is not looked at.
"""

from __future__ import annotations

import base64
import hashlib
import os
import re
import sys
from pathlib import Path

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

TILE = re.compile(r"tile/(0|[1-9][0-9]?|entries)/([x0-9/]+)\.p/([1-9][0-9]{0,2})")
CLAIM = re.compile(r"next/(0|[1-9][0-9]{0,18})")


class Wrong(Exception):
    """Something that does not hold."""


class Key:
    """A verifier key: the log's name, the key's id, and the key."""

    def __init__(self, line: str) -> None:
        parts = line.strip().split("+", 2)
        if len(parts) != 3:
            raise Wrong("not a verifier key")
        self.name, key_id, encoded = parts
        raw = from_base64(encoded)
        if len(raw) != 33 or raw[0] != 1:
            raise Wrong("not an Ed25519 key")
        self.id = hashlib.sha256(self.name.encode() + b"\n" + raw).digest()[:4]
        if self.id.hex() != key_id:
            raise Wrong("the key's id is not that of the key")
        self.public = Ed25519PublicKey.from_public_bytes(raw[1:])


def from_base64(text: str) -> bytes:
    """Bytes from base64 that could not have been written otherwise."""
    try:
        raw = base64.b64decode(text, validate=True)
    except ValueError:
        raise Wrong("not base64") from None
    if base64.b64encode(raw).decode() != text:
        raise Wrong("base64 that is not canonical")
    return raw


def read_checkpoint(data: bytes, key: Key) -> tuple[int, bytes]:
    """Size and root of a signed note, once its signature was checked."""
    body, blank, signatures = data.rpartition(b"\n\n")
    if not blank or not signatures.endswith(b"\n"):
        raise Wrong("not a signed note")
    text, valid = body + b"\n", False
    for line in signatures.decode().removesuffix("\n").split("\n"):
        words = line.split(" ")
        if len(words) != 3 or words[0] != "\u2014":
            raise Wrong("not a signature line")
        blob = from_base64(words[2])
        if (words[1], blob[:4]) == (key.name, key.id):
            key.public.verify(blob[4:], text)
            valid = True
    if not valid:
        raise Wrong("not signed by the log's key")
    lines = text.decode().split("\n")
    if len(lines) != 4 or lines[0] != key.name or str(int(lines[1])) != lines[1]:
        raise Wrong("not a checkpoint of this log")
    root = from_base64(lines[2])
    if len(root) != 32 or lines[1].startswith("-"):
        raise Wrong("not a checkpoint")
    return int(lines[1]), root


def root_of(hashes: list[bytes]) -> bytes:
    """Merkle tree hash of leaf or subtree hashes, RFC 6962 section 2.1."""
    if not hashes:
        return hashlib.sha256(b"").digest()
    if len(hashes) == 1:
        return hashes[0]
    half = 1 << (len(hashes) - 1).bit_length() - 1
    return hashlib.sha256(b"\x01" + root_of(hashes[:half]) + root_of(hashes[half:])).digest()


def read_bundle(data: bytes) -> list[bytes]:
    """The entries of a bundle, each after its length in two bytes."""
    entries, at = [], 0
    while at < len(data):
        end = at + 2 + int.from_bytes(data[at : at + 2], "big")
        if at + 2 > len(data) or end > len(data):
            raise Wrong("an entry is cut short")
        entries.append(data[at + 2 : end])
        at = end
    return entries


def tile_name(level: int | str, index: int, width: int) -> str:
    """The name of a tile, or of a bundle for the level ``entries``."""
    digits = str(index)
    digits = digits.zfill(-(-len(digits) // 3) * 3)
    groups = [digits[at : at + 3] for at in range(0, len(digits), 3)]
    path = "/".join(["x" + group for group in groups[:-1]] + groups[-1:])
    return f"tile/{level}/{path}" + (f".p/{width}" if width < 256 else "")


class Folder:
    """Plain files by their names; a link leads somewhere else, and is none."""

    def __init__(self, root: Path) -> None:
        self.root = root
        found = (Path(at, name) for at, _, names in os.walk(root) for name in names)
        self.names = {path.relative_to(root).as_posix() for path in found}

    def read(self, name: str) -> bytes:
        """The bytes of one file."""
        path = self.root / name
        if name not in self.names or path.is_symlink() or not path.is_file():
            raise Wrong(f"{name} is missing")
        return path.read_bytes()


class Log:
    """What a folder holds of a log, as its checkpoint says it is."""

    def __init__(self, folder: Folder, key: Key) -> None:
        self.folder = folder
        self.size, self.root = read_checkpoint(folder.read("checkpoint"), key)
        self.entries: list[bytes] = []
        self.used = {"checkpoint"}
        for first in range(0, self.size, 256):
            width = min(256, self.size - first)
            bundle = self.bundle(first // 256, width)
            if len(bundle) != width:
                raise Wrong(f"bundle {first // 256} has not {width} entries")
            self.entries += bundle
        leaves = [hashlib.sha256(b"\x00" + entry).digest() for entry in self.entries]
        if root_of(leaves) != self.root:
            raise Wrong("the entries do not hash to the signed root")
        # Of each level the roots of its complete subtrees of 256 ** level leaves.
        self.levels = [leaves]
        while len(self.levels[-1]) >= 256:
            below = self.levels[-1]
            ends = range(256, len(below) + 1, 256)
            self.levels.append([root_of(below[end - 256 : end]) for end in ends])

    def bundle(self, index: int, width: int) -> list[bytes]:
        """A bundle of so many entries; a full one does for a part of it."""
        name = tile_name("entries", index, width)
        if name not in self.folder.names and width < 256:
            name = tile_name("entries", index, 256)
            self.used.add(name)
            return read_bundle(self.folder.read(name))[:width]
        self.used.add(name)
        return read_bundle(self.folder.read(name))

    def problems(self) -> list[tuple[str, str]]:
        """The hash tiles that are missing or differ, each with what is wrong."""
        found = []
        for level, hashes in enumerate(self.levels):
            for first in range(0, len(hashes), 256):
                wanted = b"".join(hashes[first : first + 256])
                name = tile_name(level, first // 256, len(wanted) // 32)
                if name not in self.folder.names and len(wanted) < 256 * 32:
                    full = tile_name(level, first // 256, 256)
                    name = full if full in self.folder.names else name
                self.used.add(name)
                try:
                    data = self.folder.read(name)
                    if data != wanted and (name.count(".p/") or data[: len(wanted)] != wanted):
                        raise Wrong("differs from the hashes of the entries")
                except (Wrong, OSError) as error:
                    found.append((name, str(error)))
        return found

    def of_before(self, name: str) -> bool:
        """Whether an object is one that the log left behind as it grew."""
        if claim := CLAIM.fullmatch(name):
            return int(claim[1]) < self.size
        match = TILE.fullmatch(name)
        if not match:
            return False
        level, width = match[1], int(match[3])
        index = int(re.sub("[x/]", "", match[2]) or "0")
        if tile_name(level, index, width) != name:
            return False
        at = index * 256
        try:
            data = self.folder.read(name)
            if level == "entries":
                return at + width <= self.size and read_bundle(data) == self.entries[at:][:width]
        except (Wrong, OSError):
            return False
        hashes = self.levels[int(level)][at:][:width] if int(level) < len(self.levels) else []
        return len(hashes) == width and data == b"".join(hashes)


def verify(
    folder: Path, key: Key, earlier: dict[str, bytes] | None = None
) -> tuple[list[tuple[str, str]], list[str], str]:
    """Problems as (name, what), names of what is not in the log, and a line about the log."""
    errors = (Wrong, InvalidSignature, ValueError, OSError)
    files = Folder(folder)
    try:
        log = Log(files, key)
    except errors as error:
        return [("log", str(error) or type(error).__name__)], [], ""
    problems = log.problems()
    for place, note in (earlier or {}).items():
        try:
            size, root = read_checkpoint(note, key)
            if size > log.size:
                raise Wrong(f"has {size} entries, the log only {log.size}: it was rolled back")
            if root != root_of(log.levels[0][:size]):
                raise Wrong("is not a prefix of this log: its key signed two histories")
        except errors as error:
            problems.append((place, str(error) or type(error).__name__))
    foreign = sorted(name for name in files.names - log.used if not log.of_before(name))
    return problems, foreign, f"ok: {log.size} entries, root {base64.b64encode(log.root).decode()}"


def main(arguments: list[str]) -> int:
    """Run on the arguments of the command line."""

    def say(*words: str) -> None:
        line = ": ".join(word.encode("unicode_escape").decode("ascii") for word in words)
        sys.stdout.write(line + "\n")

    if len(arguments) < 2:
        say("usage", "FOLDER VKEY [CHECKPOINT ...]")
        return 2
    try:
        key = Key(arguments[1])
        earlier = {name: Path(name).read_bytes() for name in arguments[2:]}
    except (Wrong, ValueError, OSError) as error:
        say("usage", str(error))
        return 2
    problems, foreign, summary = verify(Path(arguments[0]), key, earlier)
    for name in foreign:
        say("note", name, "not in the log")
    for name, what in problems:
        say(name, what)
    if not problems:
        say(summary)
    return 5 if problems else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
