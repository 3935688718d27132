"""Every parser of the package meets hostile bytes with its own error, and nothing else."""

import base64

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given, settings
from hypothesis import strategies as st

from strongroom.crypto.digests import canonical, sha256
from strongroom.crypto.dsse import key_ref, open_envelope, parse_key_ref, sign_envelope
from strongroom.crypto.errors import CryptoError
from strongroom.crypto.keyset import Keyset
from strongroom.crypto.manifest import decode_checkpoint, decode_dataset
from strongroom.crypto.release import new_private_key, open_keys

SIGNER = Ed25519PrivateKey.from_private_bytes(b"s" * 32)
SIGNER_REF = key_ref(SIGNER.public_key().public_bytes_raw())
ENCLAVE = new_private_key()
KEYSET = Keyset(7, bytes(range(32)))
ENVELOPE = sign_envelope("type", b"payload", SIGNER_REF, SIGNER.sign)

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(
                ["version", "kind", "name", "shards", "keyset", "records", "objects", "payload"]
            )
            | st.text(max_size=8),
            inner,
            max_size=6,
        )
    ),
    max_leaves=20,
)


def try_canonical(value):
    try:
        return canonical(value)
    except CryptoError:
        return b""


hostile = st.binary(max_size=300) | json_values.map(try_canonical)


def raises_only_ours(call):
    try:
        call()
    except CryptoError:
        return True
    return False


@settings(max_examples=300)
@given(hostile)
def test_nothing_opens_and_nothing_else_escapes(data):
    assert raises_only_ours(lambda: decode_dataset(data, "manifest.json"))
    assert raises_only_ours(lambda: decode_checkpoint(data, "manifest.json"))
    assert raises_only_ours(lambda: open_envelope(data, "type", [SIGNER_REF], place="x"))
    assert raises_only_ours(lambda: Keyset.from_tink(data))
    assert raises_only_ours(lambda: open_keys(data, ENCLAVE, sha256(b"")))


@settings(max_examples=300)
@given(json_values)
def test_typed_json_with_the_right_start(value):
    inner = value if isinstance(value, dict) else {"name": value}
    payload = try_canonical(inner | {"version": 1, "kind": "dataset"})
    assert raises_only_ours(lambda: decode_dataset(payload, "manifest.json"))


@settings(max_examples=300)
@given(st.data())
def test_a_changed_keyset_is_refused_or_another_keyset(data):
    changed = bytearray(KEYSET.to_tink())
    for at in data.draw(st.lists(st.integers(0, len(changed) - 1), min_size=1, max_size=4)):
        changed[at] = data.draw(st.integers(0, 255))
    try:
        found = Keyset.from_tink(bytes(changed))
    except CryptoError:
        return
    assert (found == KEYSET) == (bytes(changed) == KEYSET.to_tink())


@given(
    st.text(max_size=60)
    | st.binary(min_size=32, max_size=32).map(base64.b64encode).map(bytes.decode)
)
def test_key_references(text):
    assert raises_only_ours(lambda: parse_key_ref(text))


@given(st.binary(max_size=60))
def test_a_changed_signature_is_refused(noise):
    sound = base64.b64encode(SIGNER.sign(b"other")).decode().encode()
    changed = ENVELOPE.replace(b'"sig":"', b'"sig":"' + base64.b64encode(noise)[:4] + sound[:4])
    assert raises_only_ours(lambda: open_envelope(changed, "type", [SIGNER_REF], place="x"))
