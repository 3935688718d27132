"""Keysets: strict reading, a commitment that binds, and no way to change or print one."""

import hmac

import pytest
from tink.proto import aes_gcm_hkdf_streaming_pb2, common_pb2, tink_pb2

from strongroom.crypto.errors import CryptoError, KeysetMalformed, KeysetUnsupported
from strongroom.crypto.keyset import Keyset

KEY = bytes(range(32))


def edited(change):
    """A sound keyset as Tink's own classes, changed and serialized."""
    keyset = tink_pb2.Keyset.FromString(Keyset(7, KEY).to_tink())
    change(keyset)
    return keyset.SerializeToString()


def edited_key(change):
    def apply(keyset):
        key_data = keyset.key[0].key_data
        key = aes_gcm_hkdf_streaming_pb2.AesGcmHkdfStreamingKey.FromString(key_data.value)
        change(key)
        key_data.value = key.SerializeToString()

    return edited(apply)


def setting(path, value):
    def apply(message):
        *parents, last = path.split(".")
        for parent in parents:
            message = message[int(parent)] if parent.isdigit() else getattr(message, parent)
        setattr(message, last, value)

    return apply


def test_generated_keysets_differ():
    keysets = [Keyset.generate() for _ in range(20)]
    assert len({keyset.key for keyset in keysets}) == 20
    assert all(1 <= keyset.key_id < 1 << 32 for keyset in keysets)


def test_there_and_back():
    keyset = Keyset(7, KEY)
    assert Keyset.from_tink(keyset.to_tink()) == keyset
    assert hash(Keyset.from_tink(keyset.to_tink())) == hash(keyset)
    assert keyset not in (Keyset(8, KEY), Keyset(7, KEY[::-1]), "keyset")


UNSUPPORTED = {
    "no key": edited(lambda keyset: keyset.ClearField("key")),
    "two keys": edited(lambda keyset: keyset.key.append(keyset.key[0])),
    "disabled": edited(setting("key.0.status", tink_pb2.DISABLED)),
    "destroyed": edited(setting("key.0.status", tink_pb2.DESTROYED)),
    "with prefix": edited(setting("key.0.output_prefix_type", tink_pb2.TINK)),
    "another primary": edited(setting("primary_key_id", 8)),
    "no id": edited(
        lambda keyset: [setting("primary_key_id", 0)(keyset), setting("key.0.key_id", 0)(keyset)]
    ),
    "another type": edited(setting("key.0.key_data.type_url", "type.googleapis.com/other")),
    "asymmetric": edited(setting("key.0.key_data.key_material_type", 2)),
    "version 1": edited_key(setting("version", 1)),
    "4 KiB segments": edited_key(setting("params.ciphertext_segment_size", 4096)),
    "AES-128": edited_key(setting("params.derived_key_size", 16)),
    "SHA-512": edited_key(setting("params.hkdf_hash_type", common_pb2.SHA512)),
    "short key": edited_key(setting("key_value", KEY[:16])),
    "long key": edited_key(setting("key_value", KEY * 2)),
}


@pytest.mark.parametrize("what", UNSUPPORTED)
def test_other_kinds_of_keysets_are_refused(what):
    with pytest.raises(KeysetUnsupported) as caught:
        Keyset.from_tink(UNSUPPORTED[what], place="feedback keyset")
    assert caught.value.place == "feedback keyset"
    assert caught.value.expected


@pytest.mark.parametrize(
    "data", [b"\xff", b"{}", Keyset(7, KEY).to_tink() + b"\x08\x07", b"\x0a" + b"x" * 5000]
)
def test_what_is_no_keyset(data):
    with pytest.raises(KeysetMalformed):
        Keyset.from_tink(data)


def test_every_truncation_is_refused():
    data = Keyset(7, KEY).to_tink()
    for size in range(len(data)):
        with pytest.raises(CryptoError):
            Keyset.from_tink(data[:size])


def test_errors_never_quote_the_key():
    for data in UNSUPPORTED.values():
        with pytest.raises(KeysetUnsupported) as caught:
            Keyset.from_tink(data)
        assert KEY.hex() not in str(caught.value)
        assert repr(KEY) not in str(caught.value)


def test_commitment_by_hand():
    """HKDF-SHA256 (RFC 5869) written out, so that another program can check manifests."""
    salt = b"strongroom/subkey/v1: longer than any object's salt"
    pseudo_random_key = hmac.digest(salt, KEY, "sha256")
    expected = hmac.digest(pseudo_random_key, b"commit\x01", "sha256")
    assert Keyset(7, KEY).commitment() == f"sha256:{expected.hex()}"


def test_commitments_differ_by_key_only():
    commitments = {Keyset(7, bytes([i]) * 32).commitment() for i in range(100)}
    assert len(commitments) == 100
    assert Keyset(8, KEY).commitment() == Keyset(7, KEY).commitment()


def test_the_commitment_is_no_object_key():
    """No header (salt) or identity may make an object's key equal to a published value."""
    from cryptography.hazmat.primitives.hashes import SHA256
    from cryptography.hazmat.primitives.kdf.hkdf import HKDF

    from strongroom.crypto.subkeys import SUBKEY_SALT

    assert 32 < len(SUBKEY_SALT) <= 64
    assert SUBKEY_SALT[-1] != 0
    for salt in (bytes(32), SUBKEY_SALT[:32]):
        derived = HKDF(SHA256(), 32, salt, b"commit").derive(KEY)
        assert derived.hex() not in Keyset(7, KEY).commitment()


@pytest.mark.parametrize("key_id", [0, -1, 1 << 32])
def test_key_ids_have_bounds(key_id):
    with pytest.raises(ValueError, match="key id"):
        Keyset(key_id, KEY)


def test_keys_have_one_size():
    with pytest.raises(ValueError, match="32 bytes"):
        Keyset(7, KEY + b"x")


def test_immutable():
    keyset = Keyset(7, KEY)
    with pytest.raises(AttributeError):
        keyset.key = bytes(32)
    with pytest.raises(AttributeError):
        keyset.note = "more"
