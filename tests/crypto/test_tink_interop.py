"""Google's Tink reads what we write and we read what it writes: objects and keysets."""

import io
import os

import pytest
import tink
from tink import secret_key_access, streaming_aead
from tink.proto import tink_pb2

from strongroom.crypto.errors import LengthImpossible, SegmentRefused
from strongroom.crypto.keyset import Keyset
from strongroom.crypto.segments import HEADER_BYTES, SEGMENT_BYTES, Layout, ciphertext_bytes

streaming_aead.register()
TEMPLATES = streaming_aead.streaming_aead_key_templates
FIRST = Layout().first_plaintext_bytes
OTHER = Layout().other_plaintext_bytes
SIZES = [
    0,
    1,
    FIRST - 1,
    FIRST,
    FIRST + 1,
    FIRST + OTHER - 1,
    FIRST + OTHER,
    FIRST + OTHER + 1,
    3 * SEGMENT_BYTES + 17,
]
IDENTITIES = [b"", b"strongroom/shard/v1\0feedback\x0042\x000\x00400"]


class _Kept(io.BytesIO):
    """Tink closes the stream it writes to; this keeps what was written."""

    def close(self):
        self.written = self.getvalue()
        super().close()


def tink_seal(handle, plaintext, ad):
    kept = _Kept()
    with handle.primitive(streaming_aead.StreamingAead).new_encrypting_stream(kept, ad) as stream:
        stream.write(plaintext)
    return kept.written


def tink_open(handle, sealed, ad):
    primitive = handle.primitive(streaming_aead.StreamingAead)
    with primitive.new_decrypting_stream(io.BytesIO(sealed), ad) as stream:
        return stream.read()


def tink_handle(keyset):
    return tink.proto_keyset_format.parse(keyset.to_tink(), secret_key_access.TOKEN)


@pytest.fixture(scope="module")
def ours():
    keyset = Keyset.generate()
    return keyset, tink_handle(keyset)


@pytest.fixture(scope="module")
def theirs():
    handle = tink.new_keyset_handle(TEMPLATES.AES256_GCM_HKDF_1MB)
    return Keyset.from_tink(
        tink.proto_keyset_format.serialize(handle, secret_key_access.TOKEN)
    ), handle


@pytest.mark.parametrize("ad", IDENTITIES, ids=["no identity", "identity"])
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("whose", ["ours", "theirs"])
def test_objects_both_ways(whose, size, ad, request):
    keyset, handle = request.getfixturevalue(whose)
    plaintext, key = os.urandom(size), keyset.streaming()

    from_tink = tink_seal(handle, plaintext, ad)
    assert len(from_tink) == ciphertext_bytes(size)
    assert key.open(from_tink, ad) == plaintext

    assert tink_open(handle, bytes(key.seal(plaintext, ad)), ad) == plaintext
    assert tink_open(handle, bytes(key.seal_deterministic(plaintext, ad)), ad) == plaintext

    streamed = bytearray()
    with key.writer(ad, streamed.extend) as writer:
        writer.write(plaintext)
    assert tink_open(handle, bytes(streamed), ad) == plaintext


def test_both_refuse_another_identity(ours):
    keyset, handle = ours
    with pytest.raises(SegmentRefused):
        keyset.streaming().open(tink_seal(handle, b"row", b"one"), b"two")
    with pytest.raises(Exception, match="No matching key"):
        tink_open(handle, bytes(keyset.streaming().seal(b"row", b"one")), b"two")


def test_garbage_after_a_full_last_segment_is_refused_here_and_accepted_by_tink_py(ours):
    """The control shows that the attack is real: https://github.com/tink-crypto/tink-cc/issues/20"""
    keyset, handle = ours
    plaintext = os.urandom(FIRST + OTHER)
    extended = bytes(keyset.streaming().seal(plaintext, b"ad")) + b"garbage after the end"
    with pytest.raises((SegmentRefused, LengthImpossible)):
        keyset.streaming().open(extended, b"ad")
    assert tink_open(handle, extended, b"ad") == plaintext


def test_keysets_are_the_same_bytes_as_tinks(ours, theirs):
    for keyset, handle in (ours, theirs):
        serialized = tink.proto_keyset_format.serialize(handle, secret_key_access.TOKEN)
        assert keyset.to_tink() == serialized
        assert Keyset.from_tink(serialized) == keyset


def test_keysets_pass_through_tinks_json(ours):
    keyset, handle = ours
    text = tink.json_proto_keyset_format.serialize(handle, secret_key_access.TOKEN)
    again = tink.json_proto_keyset_format.parse(text, secret_key_access.TOKEN)
    serialized = tink.proto_keyset_format.serialize(again, secret_key_access.TOKEN)
    assert Keyset.from_tink(serialized) == keyset


def test_tink_sees_the_template_that_we_name(ours):
    keyset, _ = ours
    parsed = tink_pb2.Keyset.FromString(keyset.to_tink())
    template = TEMPLATES.AES256_GCM_HKDF_1MB
    assert parsed.primary_key_id == parsed.key[0].key_id == keyset.key_id
    assert parsed.key[0].key_data.type_url == template.type_url
    assert parsed.key[0].output_prefix_type == template.output_prefix_type
    assert parsed.key[0].status == tink_pb2.ENABLED


def test_a_segment_of_tinks_opens_alone(theirs):
    keyset, handle = theirs
    plaintext = os.urandom(3 * SEGMENT_BYTES)
    sealed = tink_seal(handle, plaintext, b"ad")
    opener = keyset.streaming().opener(sealed[:HEADER_BYTES], len(sealed), b"ad")
    start, stop = opener.segment_range(2)
    first, end = opener.plaintext_range(2)
    out = bytearray(SEGMENT_BYTES)
    assert out[: opener.open_into(2, sealed[start:stop], out)] == plaintext[first:end]
