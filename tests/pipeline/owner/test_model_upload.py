"""A base model's files in the bucket: put there once, and never taken for another model's."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from strongroom.connectors.buckets.errors import ObjectMissing
from strongroom.connectors.buckets.local import LocalBucket
from strongroom.connectors.buckets.uri import Location, parse
from strongroom.crypto.digests import sha256
from strongroom.enclave.plan.objects import MODEL_LIST
from strongroom.pipeline.broker.errors import OutputConflict
from strongroom.pipeline.owner.errors import ModelFolderInvalid
from strongroom.pipeline.owner.model_upload import upload
from strongroom.trainer.errors import ModelFileInvalid, ModelUnsupported
from support.tiny_model import tiny_files


class LocalOwner:
    """An owner whose bucket is a folder."""

    def locate(self, uri: str) -> Location:
        return parse(uri)

    def bucket(self, target: Location) -> LocalBucket:
        return LocalBucket(target)


OWNER: Any = LocalOwner()


@pytest.fixture
def uri(tmp_path: Path) -> str:
    folder = tmp_path / "models" / "tiny"
    folder.mkdir(parents=True)
    return f"local://{folder}/"


def put(uri: str, name: str, data: bytes) -> None:
    target = parse(uri)
    LocalBucket(target).create(target.key + name, data)


def stored(uri: str, name: str) -> bytes:
    target = parse(uri)
    return LocalBucket(target).get(target.key + name)[0]


@pytest.fixture
def model(tmp_path: Path) -> Path:
    folder = tmp_path / "model"
    folder.mkdir()
    for name, data in tiny_files().items():
        (folder / name).write_bytes(data)
    (folder / "model.safetensors").write_bytes(bytes(1000))
    return folder


def test_a_model_can_be_put_there_again(uri, model):
    digest = upload(OWNER, model, uri)
    assert upload(OWNER, model, uri) == digest
    assert sha256(stored(uri, MODEL_LIST)) == digest


def test_an_upload_that_was_cut_off_goes_on(uri, model):
    put(uri, "config.json", (model / "config.json").read_bytes())
    upload(OWNER, model, uri)
    assert stored(uri, "model.safetensors") == bytes(1000)


def test_a_file_of_another_model_is_not_taken_for_this_ones_by_its_size(uri, model):
    """Another model's upload was cut off before its list was there."""
    put(uri, "model.safetensors", b"x" * 1000)
    with pytest.raises(OutputConflict) as caught:
        upload(OWNER, model, uri)
    assert caught.value.place == uri + "model.safetensors"
    assert caught.value.expected == sha256(bytes(1000))
    assert caught.value.actual == sha256(b"x" * 1000)
    with pytest.raises(ObjectMissing):
        stored(uri, MODEL_LIST)


@pytest.mark.parametrize(
    ("name", "data", "kind"),
    [
        ("config.json", b"{}", ModelUnsupported),
        ("tokenizer.json", b"{}", ModelFileInvalid),
        ("chat_template.jinja", b"{% for", ModelFileInvalid),
    ],
)
def test_nothing_of_a_model_that_no_enclave_would_load_is_sent(uri, model, name, data, kind):
    (model / name).write_bytes(data)
    with pytest.raises(kind):
        upload(OWNER, model, uri)
    target = parse(uri)
    assert list(LocalBucket(target).list(target.key)) == []


def test_a_folder_without_weights_is_no_model(uri, model):
    (model / "model.safetensors").unlink()
    with pytest.raises(ModelFolderInvalid):
        upload(OWNER, model, uri)
