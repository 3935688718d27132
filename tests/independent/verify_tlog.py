"""A stand-alone verifier of a tiled transparency log in a folder.

Written from the C2SP texts (tlog-tiles, tlog-checkpoint, signed-note) and RFC 6962 alone; it
imports nothing of the product, so that both would have to be wrong in the same way. Needs only
the standard library and ``cryptography``.

    python verify_tlog.py FOLDER VKEY [ORIGIN]

Every file in the folder is accounted for: a file that is not the checkpoint, a tile, an entry
bundle, a checkpoint copy (``checkpoints/<size>``) or a batch (``batches/<first index>``, in the
form of an entry bundle) fails the check, as does one with any byte changed. Exit code 0 and one
line when all holds; 5 and one line for each problem when it does not.
"""

from __future__ import annotations

import base64
import hashlib
import re
import sys
from pathlib import Path

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey


class Bad(Exception):
    pass


def b64(text):
    try:
        raw = base64.b64decode(text, validate=True)
    except ValueError:
        raise Bad("not base64") from None
    if base64.b64encode(raw).decode() != text:
        raise Bad("base64 is not canonical")
    return raw


def read_vkey(line):
    name, key_id, key = line.strip().split("+", 2)
    raw = b64(key)
    if raw[0] != 1 or len(raw) != 33:
        raise Bad("not an Ed25519 key")
    if hashlib.sha256(name.encode() + b"\n" + raw).digest()[:4].hex() != key_id:
        raise Bad("the key id does not match the key")
    return name, bytes.fromhex(key_id), Ed25519PublicKey.from_public_bytes(raw[1:])


def read_checkpoint(data, vkey, origin):
    """Size and root of a note, after its signature was checked."""
    name, key_id, key = vkey
    body, blank, signatures = data.rpartition(b"\n\n")
    if not blank or not signatures.endswith(b"\n"):
        raise Bad("not a signed note")
    text = body + b"\n"
    valid = 0
    for line in signatures.decode().removesuffix("\n").split("\n"):
        dash, signer, blob = line.split(" ")
        raw = b64(blob)
        if dash != "\u2014":
            raise Bad("not a signature line")
        if (signer, raw[:4]) == (name, key_id):
            key.verify(raw[4:], text)
            valid += 1
    if valid != 1:
        raise Bad("not signed by the log's key")
    first, size, root, end = text.decode().split("\n")
    if end or first != origin:
        raise Bad(f"origin is {first!r}")
    if str(int(size)) != size:
        raise Bad("size is not a plain number")
    return int(size), b64(root)


def root_of(hashes):
    """Merkle tree hash of a list of leaf or subtree hashes, RFC 6962 section 2.1."""
    if not hashes:
        return hashlib.sha256(b"").digest()
    if len(hashes) == 1:
        return hashes[0]
    half = 1
    while half * 2 < len(hashes):
        half *= 2
    children = root_of(hashes[:half]) + root_of(hashes[half:])
    return hashlib.sha256(b"\x01" + children).digest()


def read_bundle(data):
    entries = []
    while data:
        length = int.from_bytes(data[:2], "big")
        if len(data) < 2 + length:
            raise Bad("an entry is cut short")
        entries.append(data[2 : 2 + length])
        data = data[2 + length :]
    return entries


def tile_name(level, index, width):
    digits = f"{index:d}"
    digits = digits.zfill((len(digits) + 2) // 3 * 3)
    groups = [digits[i : i + 3] for i in range(0, len(digits), 3)]
    path = "/".join(["x" + group for group in groups[:-1]] + groups[-1:])
    return f"tile/{level}/{path}" + (f".p/{width}" if width < 256 else "")


TILE = re.compile(
    r"tile/(0|[1-9][0-9]?|entries)/((?:x[0-9]{3}/)*[0-9]{3})(?:\.p/([1-9][0-9]{0,2}))?"
)


class Log:
    def __init__(self, folder, vkey, origin):
        self.folder = Path(folder)
        self.vkey = vkey
        self.origin = origin
        self.size, self.root = read_checkpoint(self.load("checkpoint"), vkey, origin)
        self.entries = []
        for first in range(0, self.size, 256):
            width = min(256, self.size - first)
            bundle = read_bundle(self.load(tile_name("entries", first // 256, width)))
            if len(bundle) != width:
                raise Bad("a bundle has the wrong number of entries")
            self.entries += bundle
        leaves = [hashlib.sha256(b"\x00" + entry).digest() for entry in self.entries]
        if root_of(leaves) != self.root:
            raise Bad("the entries do not hash to the signed root")
        # levels[L][i]: root of the i-th complete subtree of 256**L leaves.
        self.levels = [leaves]
        while len(self.levels[-1]) >= 256:
            below = self.levels[-1]
            self.levels.append(
                [root_of(below[i : i + 256]) for i in range(0, len(below) // 256 * 256, 256)]
            )

    def load(self, name):
        return (self.folder / name).read_bytes()

    def required(self):
        """The tiles that a log of this size must serve."""
        for level, hashes in enumerate(self.levels):
            for first in range(0, len(hashes), 256):
                width = min(256, len(hashes) - first)
                yield tile_name(level, first // 256, width)

    def check(self, name):
        data = self.load(name)
        if name == "checkpoint":
            return
        if match := re.fullmatch(r"checkpoints/(0|[1-9][0-9]*)", name):
            size, root = read_checkpoint(data, self.vkey, self.origin)
            if size != int(match[1]) or size > self.size:
                raise Bad("a copy of another size")
            if root != root_of(self.levels[0][:size]):
                raise Bad("an earlier checkpoint is not a prefix of this log")
        elif match := re.fullmatch(r"batches/(0|[1-9][0-9]*)", name):
            first, batch = int(match[1]), read_bundle(data)
            if not batch or batch != self.entries[first : first + len(batch)]:
                raise Bad("a batch that is not in the log")
        elif match := TILE.fullmatch(name):
            level, index, width = match[1], int(re.sub("[x/]", "", match[2])), int(match[3] or 256)
            if tile_name(level, index, width) != name:
                raise Bad("not a canonical tile name")
            self.check_tile(data, level, index * 256, width)
        else:
            raise Bad("no part of a log")

    def check_tile(self, data, level, first, width):
        if level == "entries":
            found = self.entries[first : first + width]
            if len(found) != width or read_bundle(data) != found:
                raise Bad("differs from the log's entries")
            return
        hashes = self.levels[int(level)][first : first + width] if int(level) < 64 else []
        if len(hashes) != width or data != b"".join(hashes):
            raise Bad("differs from the log's hashes")


def verify(folder, vkey_line, origin):
    """Problems as (name, what), and a line about the log."""
    try:
        log = Log(folder, read_vkey(vkey_line), origin)
    except (Bad, InvalidSignature, ValueError, OSError) as error:
        return [("log", f"{type(error).__name__}: {error}")], ""
    names = {
        path.relative_to(folder).as_posix() for path in Path(folder).rglob("*") if path.is_file()
    }
    problems = []
    for name in sorted(names | set(log.required())):
        try:
            log.check(name)
        except (Bad, InvalidSignature, ValueError, IndexError, OSError) as error:
            problems.append((name, f"{type(error).__name__}: {error}"))
    return problems, f"ok: {log.size} entries in {len(names)} objects, root {log.root.hex()}"


if __name__ == "__main__":
    arguments = sys.argv[1:]
    where, key_line = arguments[:2]
    problems, summary = verify(where, key_line, (arguments[2:] or [key_line.split("+")[0]])[0])
    for name, what in problems:
        sys.stdout.write(f"{name}: {what}\n")
    if not problems:
        sys.stdout.write(f"{summary}\n")
    sys.exit(5 if problems else 0)
