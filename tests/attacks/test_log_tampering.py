"""An adversary with write access to the log's storage, with and without the log's key.

Each attack is also made on a reader without the defence, to show that it would succeed there:
a reader of the bare entry bundles, one that trusts whatever key signed, or one that has kept no
earlier checkpoint.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from strongroom.audit.events.entries import from_entry, new_event, to_entry
from strongroom.audit.events.types import KeyDenied, KeyReleased
from strongroom.audit.log.errors import (
    BatchMismatch,
    CheckpointForked,
    CheckpointUntrusted,
    LogObjectMissing,
    TileMismatch,
)
from strongroom.audit.log.store import DirectoryStore
from strongroom.audit.log.tlog import decode_bundle, leaf_hash, subtree_root
from strongroom.audit.log.verify import check_log, read_log
from strongroom.audit.log.writer import AuditLog
from strongroom.errors import Exit, StrongroomError

ORIGIN = "acme-audit/strongroom"
DIGEST = "sha256:" + "0" * 64


def denied():
    data = KeyDenied(plan=DIGEST, evidence=DIGEST, reasons=("nonce_unknown",))
    return to_entry(new_event("run-1", "releaser", data))


def released():
    data = KeyReleased(plan=DIGEST, evidence=DIGEST, measurement=DIGEST, assurance="A1", keys=())
    return to_entry(new_event("run-1", "releaser", data))


class Victim:
    """A log of denials and releases in a folder, as the customer sees it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.key = Ed25519PrivateKey.generate()
        self.log = self.writer(folder, self.key)
        self.vkey = self.log.key.vkey()
        self.entries = [denied(), released(), denied(), released(), denied()]
        self.log.append(self.entries[:2])
        self.log.append(self.entries[2:])

    @staticmethod
    def writer(folder: Path, key: Ed25519PrivateKey) -> AuditLog:
        public = key.public_key().public_bytes_raw()
        return AuditLog(DirectoryStore(folder), ORIGIN, key.sign, public)

    def rewrite(self, entries, key) -> None:
        """Replace the whole log by another history, complete in every object."""
        shutil.rmtree(self.folder)
        self.writer(self.folder, key).append(entries)

    def read(self, vkey=None):
        return read_log(DirectoryStore(self.folder), vkey or self.vkey, ORIGIN).entries

    def read_bundle(self):
        """A reader without the defence: it takes the newest entry bundle as it is."""
        bundles = (self.folder / "tile/entries").rglob("[0-9]*")
        newest = max((path for path in bundles if path.is_file()), key=lambda path: int(path.name))
        return decode_bundle(newest.read_bytes(), newest.name)

    def edit(self, change) -> None:
        for path in self.folder.rglob("*"):
            if path.is_file():
                path.write_bytes(change(path.read_bytes()))


@pytest.fixture
def victim(tmp_path) -> Victim:
    return Victim(tmp_path / "log")


def test_an_edited_entry(victim):
    """The adversary turns a denial into one of another run, everywhere it is stored."""
    victim.edit(lambda data: data.replace(b'"run-1"', b'"run-2"'))
    assert {from_entry(entry).run for entry in victim.read_bundle()} == {"run-2"}
    with pytest.raises(BatchMismatch) as caught:
        victim.read()
    assert caught.value.exit_code == Exit.INTEGRITY


def test_a_dropped_entry(victim):
    """Without the key, the log is rewritten with one denial less and signed by another key."""
    forger = Ed25519PrivateKey.generate()
    victim.rewrite(victim.entries[1:], forger)
    trusting = victim.writer(victim.folder, forger).key.vkey()
    assert len(victim.read(trusting)) == 4
    with pytest.raises(CheckpointUntrusted):
        victim.read()


def test_reordered_entries(victim):
    path = victim.folder / "tile/entries/000.p/5"
    shuffled = b"".join(len(entry).to_bytes(2, "big") + entry for entry in reversed(victim.entries))
    path.write_bytes(shuffled)
    assert victim.read_bundle() == victim.entries[::-1]
    with pytest.raises(TileMismatch, match=r"tile/entries/000\.p/5"):
        victim.read()


def test_a_deleted_tail(victim):
    """The adversary removes the newest objects and hopes that the older ones stand alone."""
    (victim.folder / "tile/entries/000.p/5").unlink()
    assert victim.read_bundle() == victim.entries[:2]
    with pytest.raises(LogObjectMissing):
        victim.read()


def kept(before, after):
    """Whether a log still begins with what an earlier checkpoint covers."""
    leaves = [leaf_hash(entry) for entry in after.entries]
    return subtree_root(leaves[: before.size]) == before.root


def test_a_stolen_key_cannot_rewrite_what_was_seen(victim):
    """With the key a fork verifies by itself; an earlier checkpoint exposes it."""
    before = read_log(DirectoryStore(victim.folder), victim.vkey, ORIGIN)
    victim.log.append([released()])
    assert kept(before, read_log(DirectoryStore(victim.folder), victim.vkey, ORIGIN))
    victim.rewrite([*victim.entries[1:], released(), released()], victim.key)
    after = read_log(DirectoryStore(victim.folder), victim.vkey, ORIGIN)
    assert after.size > before.size
    assert not kept(before, after)


def test_a_stolen_key_cannot_fork_beside_the_locked_copies(victim, tmp_path):
    """The audit bucket's lock keeps old copies and batches: a fork stumbles over them."""
    fork = Victim(tmp_path / "fork")
    fork.rewrite([denied(), denied()], victim.key)
    fork.log = victim.writer(fork.folder, victim.key)
    assert len(read_log(DirectoryStore(fork.folder), victim.vkey, ORIGIN).entries) == 2
    shutil.copytree(victim.folder / "checkpoints", fork.folder / "checkpoints", dirs_exist_ok=True)
    with pytest.raises(CheckpointForked, match="checkpoints/2"):
        read_log(DirectoryStore(fork.folder), victim.vkey, ORIGIN)
    with pytest.raises(StrongroomError):
        fork.log.append([denied(), denied(), denied()])


def test_a_planted_tile_is_named_and_never_built_upon(victim):
    """An adversary who may only create objects plants one where the next append must write."""
    planted = victim.folder / "tile/0/000.p/6"
    planted.write_bytes(bytes(32 * 6))
    with pytest.raises(TileMismatch, match=r"tile/0/000\.p/6"):
        victim.log.append([denied()])
    rows = check_log(DirectoryStore(victim.folder), victim.vkey, ORIGIN)
    assert {row.object for row in rows if not row.ok} == {"tile/0/000.p/6"}
    planted.unlink()
    victim.log.append([denied()])
    assert len(victim.read()) == 7, "both the interrupted and the new denial are in"


def test_another_logs_checkpoint(victim, tmp_path):
    """A valid log under the same key but of another origin is no substitute."""
    other = tmp_path / "other"
    public = victim.key.public_key().public_bytes_raw()
    AuditLog(DirectoryStore(other), "acme-audit/test", victim.key.sign, public).append([denied()])
    shutil.copy(other / "checkpoint", victim.folder / "checkpoint")
    with pytest.raises(CheckpointUntrusted):
        victim.read()
