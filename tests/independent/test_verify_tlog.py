"""Logs that the product writes, checked by a program that shares no code with it."""

from __future__ import annotations

import secrets
import subprocess
import sys
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from independent import verify_tlog
from strongroom.audit.log.store import DirectoryStore
from strongroom.audit.log.writer import AuditLog

VERIFIER = Path(verify_tlog.__file__)
ORIGIN = "acme-audit/strongroom"


def write_log(folder: Path, *counts: int) -> str:
    key = Ed25519PrivateKey.generate()
    public = key.public_key().public_bytes_raw()
    log = AuditLog(DirectoryStore(folder), ORIGIN, key.sign, public)
    for count in counts:
        log.append([secrets.token_hex(8).encode() for _ in range(count)])
    return log.key.vkey()


def run(folder: Path, vkey: str, *rest: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-I", str(VERIFIER), str(folder), vkey, *rest],
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize("counts", [(1,), (5, 1, 2), (255, 1, 1), (256,), (1000, 3)])
def test_the_products_logs_verify(tmp_path, counts):
    vkey = write_log(tmp_path, *counts)
    result = run(tmp_path, vkey, ORIGIN)
    assert result.returncode == 0, result.stdout + result.stderr
    assert result.stdout.startswith(f"ok: {sum(counts)} entries")


def test_two_levels_of_tiles_verify(tmp_path):
    vkey = write_log(tmp_path, 66_000, 5)
    assert (tmp_path / "tile/2/000.p/1").is_file()
    assert run(tmp_path, vkey).returncode == 0


def test_the_verifier_imports_nothing_of_the_product():
    assert "audit" not in {
        line.split()[1].partition(".")[0]
        for line in VERIFIER.read_text().splitlines()
        if line.startswith(("import ", "from "))
    }


def test_any_flipped_byte_fails_and_names_its_object(tmp_path):
    vkey = write_log(tmp_path, 3, 1, 2)
    verify = verify_tlog.verify
    assert verify(tmp_path, vkey, ORIGIN)[0] == []
    flips = 0
    for path in sorted(path for path in tmp_path.rglob("*") if path.is_file()):
        good = path.read_bytes()
        for at in range(len(good)):
            broken = bytearray(good)
            broken[at] ^= 1 << at % 8
            path.write_bytes(broken)
            problems, _ = verify(tmp_path, vkey, ORIGIN)
            name = path.relative_to(tmp_path).as_posix()
            assert problems, f"{name} byte {at}"
            assert name in {place for place, _ in problems} or problems[0][0] == "log"
            flips += 1
        path.write_bytes(good)
    assert flips > 1500
    assert verify(tmp_path, vkey, ORIGIN)[0] == []


@pytest.mark.parametrize("name", ["tile/0/000.p/6", "tile/entries/000.p/6", "checkpoint"])
def test_a_missing_object_fails(tmp_path, name):
    vkey = write_log(tmp_path, 6)
    (tmp_path / name).unlink()
    assert run(tmp_path, vkey).returncode == 5


def test_a_foreign_file_another_key_and_another_origin_fail(tmp_path):
    vkey = write_log(tmp_path / "log", 6)
    assert run(tmp_path / "log", vkey, "other").returncode == 5
    other = write_log(tmp_path / "other", 6)
    assert run(tmp_path / "log", other).returncode == 5
    (tmp_path / "log/notes.txt").write_text("hello")
    result = run(tmp_path / "log", vkey)
    assert (result.returncode, result.stdout.split(":")[0]) == (5, "notes.txt")
