"""``model.json``: the list of a base model's files, beside them in the bucket.

Its SHA-256 is the digest that run files pin (``pipeline.planning.facts.model_digest``), so one
small object stands for all of the model; the enclave checks each file against its entry.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from strongroom.crypto.digests import canonical
from strongroom.enclave.plan.parts import ModelFile
from strongroom.errors import bounded_json


class _ModelList(msgspec.Struct, forbid_unknown_fields=True):
    kind: Literal["model"]
    version: Literal[1]
    files: tuple[ModelFile, ...]


def encode_model_list(files: tuple[ModelFile, ...]) -> bytes:
    """``model.json``: its SHA-256 is the digest that run files pin (``facts.model_digest``)."""
    ordered = sorted(files, key=lambda file: file.name)
    return canonical(_ModelList(kind="model", version=1, files=tuple(ordered)))


def decode_model_list(data: bytes) -> tuple[ModelFile, ...]:
    """The files in a ``model.json``. Raises ``msgspec.DecodeError``."""
    return bounded_json.decode(data, shape=_ModelList).files
