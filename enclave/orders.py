"""The part of a plan that an enclave needs, read from the plan's own bytes.

The enclave attests to the digest of those bytes, so what it does is what was admitted. Fields that
it doesn't need are ignored here; ``pipeline.planning.plan`` defines and checks the whole document.
"""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from strongroom.crypto.digests import sha256
from strongroom.enclave.channel import frames


class ModelFile(msgspec.Struct, frozen=True):
    """One file of the base model."""

    name: str
    size_bytes: int
    sha256: str


class Model(msgspec.Struct, frozen=True):
    """The base model, and the type in which it computes."""

    digest: str
    files: tuple[ModelFile, ...]
    precision: Literal["bfloat16", "float32"]


class DatasetRef(msgspec.Struct, frozen=True):
    """One sealed dataset, or a sealed evaluator."""

    manifest_sha256: str


class Evaluator(msgspec.Struct, frozen=True):
    """The customer's scoring code."""

    sha256: str
    metrics: tuple[str, ...]
    timeout_s: float
    score_range: tuple[float, float] | None
    concurrency: int
    sealed: DatasetRef | None


class Data(msgspec.Struct, frozen=True):
    """Both datasets."""

    train: DatasetRef
    held_out: DatasetRef


class ModelSpec(msgspec.Struct, frozen=True):
    """``spec.model`` of the run file."""

    lora: dict[str, Any]


class EnclaveSpec(msgspec.Struct, frozen=True):
    """``spec.enclave`` of the run file."""

    threads: int


class Spec(msgspec.Struct, frozen=True):
    """``spec`` of the run file, as far as the enclave is concerned."""

    model: ModelSpec
    training: dict[str, Any]
    enclave: EnclaveSpec


class RunFile(msgspec.Struct, frozen=True):
    """The normalised run file."""

    spec: Spec


class Orders(msgspec.Struct, frozen=True):
    """What to load, what to train, and how much may be said about it."""

    run: str
    spec: RunFile
    data: Data
    model: Model
    evaluator: Evaluator
    limits: frames.Limits
    digest: str = ""
    """SHA-256 of the plan's bytes; set by ``read_orders``, whatever the plan says."""

    @property
    def engine(self) -> str:
        """What draws completions; known before any library of the trainer is loaded."""
        return str(self.spec.spec.training["engine"]["type"])


def read_orders(plan: bytes) -> Orders:
    """Decode the orders in a plan's canonical JSON. Raises ``msgspec.DecodeError``."""
    return msgspec.structs.replace(msgspec.json.decode(plan, type=Orders), digest=sha256(plan))
