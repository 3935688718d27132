"""Envelopes: what a signature covers, and a distinct refusal for each way to fail."""

import base64
import json

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from strongroom.crypto.digests import canonical
from strongroom.crypto.dsse import (
    key_ref,
    open_envelope,
    open_self_signed,
    pae,
    parse_key_ref,
    public_key,
    sign_envelope,
)
from strongroom.crypto.errors import (
    CryptoError,
    EnvelopeMalformed,
    KeyReferenceMalformed,
    PayloadTypeWrong,
    SignatureRefused,
    SignerMismatch,
    SignerNotListed,
)
from strongroom.errors import Exit

TYPE = "application/vnd.strongroom.dataset+json"
PAYLOAD = b'{"name":"feedback"}'
ALICE = Ed25519PrivateKey.from_private_bytes(b"a" * 32)
MALLORY = Ed25519PrivateKey.from_private_bytes(b"m" * 32)
ALICE_REF = key_ref(ALICE.public_key().public_bytes_raw())
MALLORY_REF = key_ref(MALLORY.public_key().public_bytes_raw())
PLACE = "s3://acme-data/datasets/feedback/manifest.json"


def envelope(signer=ALICE, keyref=ALICE_REF, **changes):
    signature = signer.sign(pae(TYPE, PAYLOAD))
    parts = {
        "payload": base64.b64encode(PAYLOAD).decode(),
        "payloadType": TYPE,
        "signatures": [{"keyid": keyref, "sig": base64.b64encode(signature).decode()}],
    }
    return parts | changes


def opened(parts, trusted=(ALICE_REF,), payload_type=TYPE):
    return open_envelope(canonical(parts), payload_type, trusted, place=PLACE)


def test_pae_as_in_the_specification():
    assert pae("http://example.com/HelloWorld", b"hello world") == (
        b"DSSEv1 29 http://example.com/HelloWorld 11 hello world"
    )
    assert pae("é", b"") == b"DSSEv1 2 \xc3\xa9 0 "


def test_sign_and_open():
    signed = sign_envelope(TYPE, PAYLOAD, ALICE_REF, ALICE.sign)
    assert signed == canonical(envelope())
    assert open_envelope(signed, TYPE, [ALICE_REF], place=PLACE) == (PAYLOAD, ALICE_REF)
    assert open_envelope(signed, TYPE, {MALLORY_REF, ALICE_REF}, place=PLACE)[1] == ALICE_REF


def test_a_signer_with_another_key_is_found_when_signing():
    with pytest.raises(SignerMismatch) as caught:
        sign_envelope(TYPE, PAYLOAD, ALICE_REF, MALLORY.sign)
    assert caught.value.exit_code == Exit.KEY_REFUSED


def test_an_unlisted_key():
    with pytest.raises(SignerNotListed) as caught:
        opened(envelope(MALLORY, MALLORY_REF))
    assert caught.value.exit_code == Exit.INTEGRITY
    assert caught.value.place == PLACE
    assert (caught.value.expected, caught.value.actual) == (ALICE_REF, MALLORY_REF)


def test_an_unlisted_key_under_a_listed_name():
    with pytest.raises(SignatureRefused):
        opened(envelope(MALLORY, ALICE_REF))


def test_control_the_same_signature_counts_once_its_key_is_listed():
    assert opened(envelope(MALLORY, ALICE_REF), [MALLORY_REF]) == (PAYLOAD, MALLORY_REF)


def test_nothing_listed_and_nothing_signed():
    with pytest.raises(SignerNotListed):
        opened(envelope(), [])
    with pytest.raises(SignerNotListed) as caught:
        opened(envelope(signatures=[]))
    assert caught.value.actual == "no signature"


def test_a_changed_payload():
    changed = base64.b64encode(PAYLOAD.replace(b"feedback", b"feedbacl")).decode()
    with pytest.raises(SignatureRefused):
        opened(envelope(payload=changed))


def test_another_type_than_signed_does_not_verify_and_another_than_wanted_is_named():
    other = "application/vnd.strongroom.checkpoint+json"
    with pytest.raises(PayloadTypeWrong) as caught:
        opened(envelope(), payload_type=other)
    assert (caught.value.expected, caught.value.actual) == (other, TYPE)
    with pytest.raises(SignatureRefused):
        opened(envelope(payloadType=other), payload_type=other)


def test_every_flipped_bit_of_an_envelope_is_refused_or_changes_nothing():
    """Bits of key ids, of unsigned names and of base64 letters' case may not matter; content may
    not change."""
    sound = canonical(envelope())
    refused = 0
    for at in range(len(sound)):
        for bit in range(8):
            flipped = bytearray(sound)
            flipped[at] ^= 1 << bit
            try:
                assert open_envelope(bytes(flipped), TYPE, [ALICE_REF], place=PLACE) == (
                    PAYLOAD,
                    ALICE_REF,
                )
            except CryptoError:
                refused += 1
    key_id_bits = 8 * len(ALICE_REF)
    assert refused > 8 * len(sound) - key_id_bits - 8 * len("keyid")


def test_two_signatures_need_one_trusted():
    both = envelope(signatures=envelope(MALLORY, MALLORY_REF)["signatures"])
    both["signatures"] += envelope()["signatures"]
    assert opened(both) == (PAYLOAD, ALICE_REF)
    assert opened(both, [MALLORY_REF]) == (PAYLOAD, MALLORY_REF)
    both["signatures"].pop()
    with pytest.raises(SignerNotListed):
        opened(both)


def test_a_bad_signature_beside_a_good_one():
    parts = envelope()
    parts["signatures"].insert(0, {"keyid": ALICE_REF, "sig": base64.b64encode(b"x" * 64).decode()})
    assert opened(parts) == (PAYLOAD, ALICE_REF)


def test_key_ids_are_hints():
    assert opened(envelope(keyref="")) == (PAYLOAD, ALICE_REF)
    nameless = [{"sig": envelope()["signatures"][0]["sig"]}]
    assert opened(envelope(signatures=nameless)) == (PAYLOAD, ALICE_REF)


def test_unknown_fields_are_ignored_and_url_safe_base64_is_read():
    parts = envelope(extension={"any": "thing"})
    signature = parts["signatures"][0]
    signature["sig"] = signature["sig"].replace("+", "-").replace("/", "_")
    assert opened(parts) == (PAYLOAD, ALICE_REF)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"null",
        b"[]",
        b"{}",
        b"\xff\xfe",
        b'{"payload":"\xff"}',
        b"[" * 100_000,
        b'{"x":' * 100_000,
        json.dumps({"payload": 1, "payloadType": TYPE, "signatures": []}).encode(),
        json.dumps({"payload": "", "payloadType": TYPE}).encode(),
        json.dumps({"payload": "a", "payloadType": TYPE, "signatures": []}).encode(),
        json.dumps({"payload": "é===", "payloadType": TYPE, "signatures": []}).encode(),
        json.dumps({"payload": "", "payloadType": TYPE, "signatures": [{"sig": "!"}]}).encode(),
        json.dumps({"payload": "", "payloadType": TYPE, "signatures": [{"sig": ""}] * 17}).encode(),
    ],
)
def test_malformed_envelopes(data):
    with pytest.raises(EnvelopeMalformed) as caught:
        open_envelope(data, TYPE, [ALICE_REF], place=PLACE)
    assert caught.value.place.startswith(PLACE)


def test_hostile_text_is_not_printed_raw():
    parts = envelope(MALLORY, "\x1b[31mtrusted\x1b[0m")
    with pytest.raises(SignerNotListed) as caught:
        opened(parts)
    assert "\x1b" not in str(caught.value)
    with pytest.raises(PayloadTypeWrong) as caught:
        opened(envelope(payloadType="\x1b[2J"))
    assert "\x1b" not in str(caught.value)


def test_key_references_there_and_back():
    raw = ALICE.public_key().public_bytes_raw()
    assert public_key(key_ref(raw)) == raw
    assert parse_key_ref(str(ALICE_REF)) == ALICE_REF


@pytest.mark.parametrize(
    "text",
    [
        "",
        "ed25519:",
        "rsa:" + ALICE_REF.removeprefix("ed25519:"),
        ALICE_REF + "\n",
        ALICE_REF[:-1],
        ALICE_REF[:-2] + "B=",
        ALICE_REF.replace("=", ""),
        "ed25519:" + base64.b64encode(b"x" * 31).decode(),
    ],
)
def test_malformed_key_references(text):
    with pytest.raises(KeyReferenceMalformed):
        parse_key_ref(text, place="run.yaml:12:5")


def test_a_raw_key_of_another_size():
    with pytest.raises(KeyReferenceMalformed):
        key_ref(b"x" * 33)


def test_a_self_signed_envelope_names_its_signer():
    assert open_self_signed(canonical(envelope()), TYPE, place=PLACE) == (PAYLOAD, ALICE_REF)
    mallory = canonical(envelope(MALLORY, MALLORY_REF))
    assert open_self_signed(mallory, TYPE, place=PLACE) == (PAYLOAD, MALLORY_REF)


@pytest.mark.parametrize(
    ("data", "error"),
    [
        (canonical(envelope(MALLORY, ALICE_REF)), SignatureRefused),
        (canonical(envelope(payload=base64.b64encode(b"{}").decode())), SignatureRefused),
        (canonical(envelope(payloadType="text/plain")), PayloadTypeWrong),
        (canonical(envelope(keyref="alice")), KeyReferenceMalformed),
        (canonical(envelope(signatures=[])), SignerNotListed),
        (b"{}", EnvelopeMalformed),
    ],
)
def test_a_self_signed_envelope_that_its_key_did_not_sign(data, error):
    with pytest.raises(error):
        open_self_signed(data, TYPE, place=PLACE)
