"""The part of a plan that an enclave acts on, read from the plan's own bytes.

The enclave attests to the SHA-256 of those bytes, so what it does is what was admitted. Fields that
it doesn't need are ignored here; ``pipeline.planning.plan`` defines and checks the whole document.
An unknown limit is an error all the same: to ignore it would be to lift it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import msgspec

from strongroom.crypto.digests import Sha256, sha256
from strongroom.enclave.channel import capacity
from strongroom.trainer.config import LoraConfig, TrainingConfig


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


@dataclass(frozen=True, kw_only=True)
class PlanExcerpt:
    """What to load, what to train, and how much may leave."""

    digest: Sha256
    """SHA-256 of the plan's bytes, whatever they say."""
    run: str
    data: Data
    model: Model
    evaluator: Evaluator
    training: TrainingConfig
    lora: LoraConfig
    threads: int
    limits: capacity.Limits


class _ModelSpec(msgspec.Struct, frozen=True):
    lora: msgspec.Raw


class _EnclaveSpec(msgspec.Struct, frozen=True):
    threads: int


class _Spec(msgspec.Struct, frozen=True):
    model: _ModelSpec
    training: msgspec.Raw
    enclave: _EnclaveSpec


class _RunFile(msgspec.Struct, frozen=True):
    spec: _Spec


class _Plan(msgspec.Struct, frozen=True):
    run: str
    spec: _RunFile
    data: Data
    model: Model
    evaluator: Evaluator
    limits: capacity.Limits


def read_plan_excerpt(plan: bytes) -> PlanExcerpt:
    """The excerpt of a plan's JSON.

    Raises ``msgspec.DecodeError``, and ``pydantic.ValidationError`` for settings of the trainer.
    """
    found = msgspec.json.decode(plan, type=_Plan)
    spec = found.spec.spec
    return PlanExcerpt(
        digest=sha256(plan),
        run=found.run,
        data=found.data,
        model=found.model,
        evaluator=found.evaluator,
        training=TrainingConfig.model_validate_json(bytes(spec.training)),
        lora=LoraConfig.model_validate_json(bytes(spec.model.lora)),
        threads=spec.enclave.threads,
        limits=found.limits,
    )
