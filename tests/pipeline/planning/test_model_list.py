"""The base model's list: one form, whose digest run files pin."""

from __future__ import annotations

import random

import msgspec
import pytest

from strongroom.crypto.digests import sha256
from strongroom.enclave.plan.derived import model_digest
from strongroom.enclave.plan.parts import ModelFile
from strongroom.pipeline.planning.model_list import decode_model_list, encode_model_list
from support import sample


def test_a_list_comes_back():
    assert decode_model_list(encode_model_list(sample.FILES)) == sample.FILES


def test_its_digest_is_the_models():
    assert sha256(encode_model_list(sample.FILES)) == model_digest(sample.FILES)


def test_order_does_not_matter():
    files = [ModelFile(name=f"f{n}", size_bytes=n, sha256=sha256(b"x")) for n in range(9)]
    expected = encode_model_list(tuple(files))
    random.Random(1).shuffle(files)
    assert encode_model_list(tuple(files)) == expected
    assert [file.name for file in decode_model_list(expected)] == [f"f{n}" for n in range(9)]


@pytest.mark.parametrize("field", ["name", "size_bytes", "sha256"])
def test_every_field_is_in_the_digest(field):
    other = {"name": "other", "size_bytes": 1, "sha256": sha256(b"other")}[field]
    changed = (msgspec.structs.replace(sample.FILES[0], **{field: other}), *sample.FILES[1:])
    assert model_digest(changed) != model_digest(sample.FILES)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"[]",
        b"{}",
        b'{"files":[],"kind":"model"}',
        b'{"files":[{"name":"a"}],"kind":"model","version":1}',
        b'{"files":[],"kind":"model","version":1,"note":""}',
        b'{"files":[],"kind":"dataset","version":1}',
        b'{"files":[],"kind":"model","version":2}',
        b"\xff\xfe",
        b'{"files":[],"kind":"\xff","version":1}',
    ],
)
def test_another_document_is_refused(data):
    with pytest.raises(msgspec.DecodeError):
        decode_model_list(data)
