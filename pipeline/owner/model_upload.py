"""``strongroom model upload``: a base model's files go into the bucket, their list last."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from typing_extensions import Buffer

from strongroom.connectors.buckets.errors import ObjectExists, ObjectMissing
from strongroom.crypto.digests import Sha256, sha256
from strongroom.enclave.plan.derived import model_digest
from strongroom.enclave.plan.objects import MODEL_LIST
from strongroom.enclave.plan.parts import ModelFile
from strongroom.errors.regular_files import open_beneath
from strongroom.pipeline.broker.errors import OutputConflict
from strongroom.pipeline.owner.errors import ModelFolderInvalid
from strongroom.pipeline.owner.owner import Owner
from strongroom.pipeline.planning.model_list import encode_model_list
from strongroom.trainer.model.files import (
    CONFIG,
    GENERATION,
    TEMPLATE,
    TOKENIZER,
    TOKENIZER_CONFIG,
    check_model_files,
)

PIECE_BYTES = 8 << 20
SUFFIXES = (".jinja", ".json", ".safetensors")
"""Of what the enclave reads of a model; nothing else is uploaded."""
CHECKED = (CONFIG, GENERATION, TOKENIZER, TOKENIZER_CONFIG, TEMPLATE)
NEEDED = (CONFIG, TOKENIZER, TOKENIZER_CONFIG)


def upload(owner: Owner, folder: Path, uri: str) -> Sha256:
    """Put the files of ``folder`` under ``uri``; returns the digest that run files pin.

    The files are checked as an enclave will check them, but for the weights, before anything is
    sent. A file that is there already is compared by digest, and left. Raises
    ``ModelFolderInvalid``, the trainer's errors about a model's files, ``ObjectExists`` where a
    file of another size is there, and ``OutputConflict`` where one of the same size has other
    content, or the list is that of another model.
    """
    target = owner.locate(uri)
    paths = model_paths(folder)
    check_model_files({path.name: b"".join(pieces(path)) for path in paths if path.name in CHECKED})
    bucket = owner.bucket(target)
    files = []
    for path in paths:
        digest = _digest(pieces(path))
        size = path.stat().st_size
        files.append(ModelFile(name=path.name, size_bytes=size, sha256=digest))
        key = target.key + path.name
        try:
            there = bucket.head(key).size_bytes == size
        except ObjectMissing:
            there = False
        if not there:
            bucket.create(key, pieces(path))
        elif (stored_digest := _digest(bucket.stream(key))) != digest:
            raise OutputConflict(place=uri + path.name, expected=digest, actual=stored_digest)
    listing = encode_model_list(tuple(files))
    try:
        bucket.create(target.key + MODEL_LIST, listing)
    except ObjectExists:
        stored, _etag = bucket.get(target.key + MODEL_LIST)
        if stored != listing:
            raise OutputConflict(place=uri, expected=sha256(listing)) from None
    return model_digest(tuple(files))


def model_paths(folder: Path) -> list[Path]:
    """The model's files by name. Raises ``ModelFolderInvalid``."""
    if not folder.is_dir():
        raise ModelFolderInvalid(place=str(folder), expected="a folder", actual="none")
    found = sorted(path for path in folder.iterdir() if path.suffix in SUFFIXES)
    for path in found:
        with _opened(path):
            pass
    names = {path.name for path in found}
    missing = [name for name in NEEDED if name not in names]
    if not any(path.suffix == ".safetensors" for path in found):
        missing.append("*.safetensors")
    if missing:
        raise ModelFolderInvalid(place=str(folder), expected=", ".join(missing), actual="none")
    return found


def pieces(path: Path) -> Iterator[bytes]:
    """A file's bytes, a few MiB at a time."""
    with _opened(path) as file:
        while piece := file.read(PIECE_BYTES):
            yield piece


@contextmanager
def _opened(path: Path) -> Iterator[BinaryIO]:
    """A file of a model. Raises ``ModelFolderInvalid`` for a link out of the model's folder.

    In a cache of models, a model's folder holds ``snapshots`` of links into its ``blobs``.
    """
    snapshot = path.parent.absolute()
    cached = snapshot.parent.name == "snapshots"
    folder = snapshot.parents[1] if cached else snapshot
    name = str(snapshot.relative_to(folder) / path.name)
    try:
        with open_beneath(folder, name) as file:
            yield file
    except OSError as error:
        raise ModelFolderInvalid(
            place=str(path), expected="a regular file in its folder", actual=error.strerror or ""
        ) from None


def _digest(content: Iterable[Buffer]) -> Sha256:
    found = hashlib.sha256()
    for piece in content:
        found.update(piece)
    return Sha256(f"sha256:{found.hexdigest()}")
