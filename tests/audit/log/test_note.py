"""Checkpoint notes: the specification's own example, and every flipped bit refused."""

from __future__ import annotations

import base64

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from strongroom.audit.log.errors import (
    CheckpointMalformed,
    CheckpointUntrusted,
    KeyMalformed,
    OriginMismatch,
    SignerMismatch,
)
from strongroom.audit.log.note import (
    Checkpoint,
    LogKey,
    open_checkpoint,
    parse_text,
    parse_vkey,
    sign_checkpoint,
)

ORIGIN = "example.com/log42"


@pytest.fixture(scope="module")
def private_key():
    return Ed25519PrivateKey.generate()


@pytest.fixture(scope="module")
def key(private_key):
    return LogKey(ORIGIN, private_key.public_key().public_bytes_raw())


def note_of(private_key, size=7, origin=ORIGIN):
    checkpoint = Checkpoint(origin, size, b"\x07" * 32)
    return sign_checkpoint(
        checkpoint, private_key.public_key().public_bytes_raw(), private_key.sign
    )


def test_a_checkpoint_has_the_form_of_the_specification(private_key, key):
    note = note_of(private_key)
    head, signature = note.decode().split("\n\n")
    assert head.split("\n") == [ORIGIN, "7", base64.b64encode(b"\x07" * 32).decode()]
    assert signature.startswith(f"\u2014 {ORIGIN} ")
    assert signature.endswith("\n")
    assert open_checkpoint(note, key, ORIGIN, place="here").size == 7


def test_go_checksum_databases_key_reads_as_published():
    key = parse_vkey("sum.golang.org+033de0ae+Ac4zctda0e5eza+HJyk9SxEdh+s3Ux18htTTAD8OuAn8")
    assert key.name == "sum.golang.org"
    assert key.key_id.hex() == "033de0ae"
    assert parse_vkey(key.vkey()) == key


def test_every_flipped_bit_is_refused(private_key, key):
    note = note_of(private_key)
    for at in range(len(note)):
        for bit in range(8):
            broken = bytearray(note)
            broken[at] ^= 1 << bit
            with pytest.raises((CheckpointMalformed, CheckpointUntrusted, OriginMismatch)):
                open_checkpoint(bytes(broken), key, ORIGIN, place="here")


@pytest.mark.parametrize(
    "change",
    [
        lambda note: b"",
        lambda note: note[:-1],
        lambda note: note + b"\n",
        lambda note: note + b"x",
        lambda note: note.replace(b"\n7\n", b"\n07\n"),
        lambda note: note.replace(b"\n", b"\r\n"),
        lambda note: note * 2,
        lambda note: b"\xff" + note,
        lambda note: note.partition(b"\n\n")[0] + b"\n\n",
        lambda note: note + b"\n" * 20_000,
    ],
)
def test_malformed_notes_are_refused(private_key, key, change):
    with pytest.raises((CheckpointMalformed, CheckpointUntrusted)):
        open_checkpoint(change(note_of(private_key)), key, ORIGIN, place="here")


def test_another_key_and_another_origin_are_refused(private_key, key):
    other = Ed25519PrivateKey.generate()
    with pytest.raises(CheckpointUntrusted):
        open_checkpoint(note_of(other), key, ORIGIN, place="here")
    with pytest.raises(OriginMismatch):
        open_checkpoint(note_of(private_key), key, "example.com/other", place="here")


def test_witness_signatures_are_ignored_as_the_format_asks(private_key, key):
    line = base64.b64encode(b"\x01\x02\x03\x04" + bytes(64)).decode()
    note = note_of(private_key) + f"\u2014 witness.example {line}\n".encode()
    assert open_checkpoint(note, key, ORIGIN, place="here").size == 7


def test_a_signer_with_another_key_never_makes_a_note(private_key):
    other = Ed25519PrivateKey.generate()
    with pytest.raises(SignerMismatch):
        sign_checkpoint(
            Checkpoint(ORIGIN, 1, bytes(32)),
            private_key.public_key().public_bytes_raw(),
            other.sign,
        )


@pytest.mark.parametrize("line", ["", "a", "a+b+c", "a b+00000000+AQ==", "a+00000000+AgAA"])
def test_malformed_verifier_keys_are_refused(line):
    with pytest.raises(KeyMalformed):
        parse_vkey(line)


def test_origins_with_spaces_or_plus_are_refused():
    for name in ("a b", "a+b", "", "a\nb", "é"):
        with pytest.raises(KeyMalformed):
            LogKey(name, bytes(32))


def test_a_text_that_is_to_be_signed_is_read_as_strictly():
    checkpoint = Checkpoint(ORIGIN, 7, b"\x07" * 32)
    assert parse_text(checkpoint.text(), place="here") == checkpoint
    for text in (b"", b"a\n7\n", checkpoint.text() + b"more\n", b"\xff", b"transfer 100"):
        with pytest.raises(CheckpointMalformed):
            parse_text(text, place="here")
