"""Checkpoint notes and cosignatures: other programs' examples, and every flipped bit refused."""

from __future__ import annotations

import base64

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from strongroom.audit.log.errors import (
    CheckpointMalformed,
    CheckpointUntrusted,
    CosignatureMissing,
    KeyMalformed,
    OriginMismatch,
    SignerMismatch,
)
from strongroom.audit.log.note import (
    Checkpoint,
    LogKey,
    WitnessKey,
    check_cosignatures,
    cosign,
    open_checkpoint,
    parse_vkey,
    parse_witness,
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


# Written by `aics-tlog` 0.2.1, which shares no code with this; the private keys are 32 times 0x01
# for the log and 32 times 0x02 for the witness.
THEIR_NOTE = """\
example.com/behind-the-sofa
20852163
AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=

— example.com/behind-the-sofa be1zqTv0X0AxEbh/7ruSbQ7wLNz+vDHFMNuURvBHQBgHFyvSGvVZR+EUATFKFnzC0\
umdk4cLHesgXf4is57b/ujHSww=
— witness.example.com/w1 dF+16AAAAABkGFDLCoWkIjKcL+ZgfGRVmqLBmCncIDLgjtILqA5ZVYtGB+Dkn0p4cLnGPQ\
Axowp1bkFT98qLYzctog81eqamx6EqCw==
""".encode()
SOFA = "example.com/behind-the-sofa"
WITNESS = "witness.example.com/w1"


def witness_of(byte=2, name=WITNESS):
    private = Ed25519PrivateKey.from_private_bytes(bytes([byte]) * 32)
    return private, WitnessKey(name, private.public_key().public_bytes_raw())


def test_what_another_program_signed_and_cosigned_holds():
    log = Ed25519PrivateKey.from_private_bytes(b"\x01" * 32)
    key = LogKey(SOFA, log.public_key().public_bytes_raw())
    found = open_checkpoint(THEIR_NOTE, key, SOFA, place="here")
    assert (found.size, found.root) == (20852163, bytes(range(32)))
    assert check_cosignatures(THEIR_NOTE, [witness_of()[1]], place="here") == {WITNESS: 1679315147}


def test_what_is_signed_and_cosigned_here_is_what_another_program_writes():
    log = Ed25519PrivateKey.from_private_bytes(b"\x01" * 32)
    private, witness = witness_of()
    checkpoint = Checkpoint(SOFA, 20852163, bytes(range(32)))
    note = sign_checkpoint(checkpoint, log.public_key().public_bytes_raw(), log.sign)
    assert cosign(note, witness, private.sign, 1679315147, place="here") == THEIR_NOTE


def test_a_cosignature_line_has_the_form_of_the_specification_s_example():
    """Its key is not published, so the example itself verifies nowhere."""
    text = (
        "jWbPPwAAAABkGFDLEZMHwSRaJNiIDoe9DYn/zXcrtPHeolMI5OWXEhZCB9dlrDJsX3b2oyin1nPZqhf5nNo0xUe+"
        "mbIUBkBIfZ+qnA=="
    )
    blob = base64.b64decode(text)
    ours = base64.b64decode(THEIR_NOTE.split()[-1])
    assert len(blob) == len(ours) == 4 + 8 + 64
    assert blob[4:12] == ours[4:12] == (1679315147).to_bytes(8, "big")


def test_every_flipped_bit_of_a_cosigned_note_is_refused_by_one_or_the_other(private_key, key):
    witness_key, witness = witness_of()
    note = cosign(note_of(private_key), witness, witness_key.sign, 1_800_000_000, place="here")
    errors = (CheckpointMalformed, CheckpointUntrusted, OriginMismatch, CosignatureMissing)

    def hold(data):
        check_cosignatures(data, [witness], place="here")
        open_checkpoint(data, key, ORIGIN, place="here")

    hold(note)
    for at in range(len(note)):
        for bit in range(8):
            broken = bytearray(note)
            broken[at] ^= 1 << bit
            with pytest.raises(errors):
                hold(bytes(broken))


def test_each_witness_that_is_asked_for_must_have_signed(private_key):
    note = note_of(private_key)
    one, other = witness_of(2, "w.example/1"), witness_of(3, "w.example/2")
    for private, witness in (one, other):
        with pytest.raises(CosignatureMissing, match=witness.name):
            check_cosignatures(note, [one[1], other[1]], place="here")
        note = cosign(note, witness, private.sign, 7, place="here")
    assert check_cosignatures(note, [one[1], other[1]], place="here") == {
        "w.example/1": 7,
        "w.example/2": 7,
    }


def test_a_cosignature_of_another_checkpoint_key_time_or_name_is_none(private_key):
    private, witness = witness_of()
    note = note_of(private_key)
    line = cosign(note, witness, private.sign, 7, place="here").removeprefix(note)
    blob = base64.b64decode(line.split()[-1])
    later = blob[:4] + (8).to_bytes(8, "big") + blob[12:]
    key_id, bare = witness.key_id, private.sign(note.partition(b"\n\n")[0] + b"\n")
    for changed in (
        note_of(private_key, size=8) + line,
        note + line.replace(WITNESS.encode(), b"somebody.else"),
        note + f"— {WITNESS} {base64.b64encode(later).decode()}\n".encode(),
        note + f"— {WITNESS} {base64.b64encode(key_id + bare).decode()}\n".encode(),
        note + f"— {WITNESS} {base64.b64encode(key_id + bytes(8) + bare).decode()}\n".encode(),
    ):
        with pytest.raises(CosignatureMissing):
            check_cosignatures(changed, [witness], place="here")
    imposter, _ = witness_of(4)
    with pytest.raises(CosignatureMissing):
        check_cosignatures(
            cosign(note, witness, imposter.sign, 7, place="here"), [witness], place="here"
        )


def test_keys_of_logs_and_of_witnesses_are_told_apart():
    raw = witness_of()[1].public_key
    log, witness = LogKey("w.example/1", raw), WitnessKey("w.example/1", raw)
    assert log.key_id != witness.key_id
    assert log != witness
    assert parse_witness(witness.vkey()) == witness
    assert parse_vkey(log.vkey()) == log
    with pytest.raises(KeyMalformed):
        parse_vkey(witness.vkey())
    with pytest.raises(KeyMalformed):
        parse_witness(log.vkey())
