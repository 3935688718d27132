"""Released keys open for one enclave and one piece of evidence, and nowhere else."""

import pytest

from strongroom.crypto.digests import Sha256, sha256
from strongroom.crypto.errors import (
    DigestMalformed,
    ReleaseKeyInvalid,
    ReleaseMalformed,
    ReleaseRefused,
)
from strongroom.crypto.keyset import Keyset
from strongroom.crypto.release import (
    _INFO,
    _SUITE,
    new_private_key,
    open_keys,
    public_bytes,
    seal_keys,
)
from strongroom.errors import Exit

EVIDENCE = sha256(b'{"measurement":"one"}')
KEYSETS = {"feedback": Keyset(42, bytes(range(32))), "output": Keyset(7, b"o" * 32)}


@pytest.fixture(scope="module")
def enclave():
    return new_private_key()


@pytest.fixture(scope="module")
def sealed(enclave):
    return seal_keys(KEYSETS, public_bytes(enclave), EVIDENCE)


def test_the_right_enclave_with_the_right_evidence(enclave, sealed):
    assert open_keys(sealed, enclave, EVIDENCE) == KEYSETS


def test_other_evidence(enclave, sealed):
    with pytest.raises(ReleaseRefused) as caught:
        open_keys(sealed, enclave, sha256(b'{"measurement":"two"}'))
    assert caught.value.exit_code == Exit.INTEGRITY


def test_another_enclave(sealed):
    with pytest.raises(ReleaseRefused):
        open_keys(sealed, new_private_key(), EVIDENCE)


def test_every_changed_byte_and_every_length(enclave, sealed):
    for at in range(len(sealed)):
        for bit in (0x01, 0x80):
            flipped = bytearray(sealed)
            flipped[at] ^= bit
            with pytest.raises(ReleaseRefused):
                open_keys(bytes(flipped), enclave, EVIDENCE)
        with pytest.raises(ReleaseRefused):
            open_keys(sealed[:at], enclave, EVIDENCE)
    with pytest.raises(ReleaseRefused):
        open_keys(sealed + b"\0", enclave, EVIDENCE)


def test_nothing_of_the_keys_shows(sealed):
    for keyset in KEYSETS.values():
        assert keyset.key not in sealed
    assert seal_keys(KEYSETS, public_bytes(new_private_key()), EVIDENCE) != sealed


def test_it_is_rfc_9180_with_this_suite(enclave, sealed):
    """Any HPKE opens it: X25519, HKDF-SHA256, AES-256-GCM, enc | ciphertext, info as documented."""
    info = b"strongroom/release/v1|" + EVIDENCE.encode()
    assert b"feedback" in _SUITE.decrypt(sealed, enclave, info)


@pytest.mark.parametrize("public", [b"", b"x" * 31, b"x" * 33, bytes(32), b"\x01" + bytes(31)])
def test_unusable_public_keys(public):
    with pytest.raises(ReleaseKeyInvalid):
        seal_keys(KEYSETS, public, EVIDENCE)


@pytest.mark.parametrize("digest", ["", "evidence", EVIDENCE + "0"])
def test_the_evidence_digest_is_never_left_out(enclave, sealed, digest):
    with pytest.raises(DigestMalformed):
        seal_keys(KEYSETS, public_bytes(enclave), Sha256(digest))
    with pytest.raises(DigestMalformed):
        open_keys(sealed, enclave, Sha256(digest))


@pytest.mark.parametrize(
    "message", [b"", b"[]", b'{"a":1}', b'{"a":"!"}', b'{"a":"AAAA"}', b"[" * 100_000]
)
def test_sealed_for_us_but_not_keysets(enclave, message):
    """Anyone can seal to a public key: what opens is still parsed strictly."""
    sealed = _SUITE.encrypt(message, enclave.public_key(), _INFO + EVIDENCE.encode())
    with pytest.raises(ReleaseMalformed) as caught:
        open_keys(sealed, enclave, EVIDENCE)
    assert caught.value.__suppress_context__
