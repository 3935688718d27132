"""The part of a run file, as a plan holds it, that the plan's other fields follow from.

``pipeline.runfile.spec`` defines and checks the whole file. Its quantities keep their units here
(``15m``, ``8GiB``), and are read by the same grammar.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Literal

import msgspec

from strongroom.crypto.digests import Sha256
from strongroom.enclave.assurance import Level
from strongroom.enclave.plan.errors import PlanMalformed
from strongroom.trainer.config import LoraConfig, TrainingConfig

Units = tuple[tuple[str, int], ...]
DURATION: Units = (("h", 3600), ("m", 60), ("s", 1))
"""Units of a duration from the largest to the smallest, in seconds."""
SIZE: Units = (("TiB", 1 << 40), ("GiB", 1 << 30), ("MiB", 1 << 20))
"""Units of a size, in bytes."""


def quantity(text: str, units: Units) -> int | None:
    """A whole number with a unit, such as ``15m``, in the unit of 1; None where it is none."""
    pattern = rf"([0-9]{{1,15}})({'|'.join(unit for unit, _ in units)})"
    match = re.fullmatch(pattern, text)
    return int(match[1]) * dict(units)[match[2]] if match else None


class Data(msgspec.Struct, frozen=True):
    """The sealed datasets."""

    train: str
    held_out: str


class Model(msgspec.Struct, frozen=True):
    """The base model and its adapter."""

    base: str
    digest: Sha256
    lora: LoraConfig
    precision: Literal["auto", "bfloat16", "float32"]


class Evaluator(msgspec.Struct, frozen=True, rename={"score_range": "range"}):
    """The reward code; one of ``source`` and ``sealed``."""

    source: str | None
    sealed: str | None
    metrics: tuple[str, ...]
    timeout: str
    score_range: tuple[float, float] | None
    concurrency: int


class Access(msgspec.Struct, frozen=True):
    """How one bucket, or a prefix in it, is reached."""

    uri: str
    role: str
    ttl: str
    endpoint: str | None


class Keys(msgspec.Struct, frozen=True):
    """References to keys."""

    data: str
    outputs: str
    audit: str


class Enclave(msgspec.Struct, frozen=True):
    """The sandboxed worker."""

    assurance: Level
    memory: str
    threads: int


class NormalisedRun(msgspec.Struct, frozen=True):
    """``spec`` of a run file."""

    data: Data
    model: Model
    evaluator: Evaluator
    training: TrainingConfig
    outputs: str
    audit: str
    access: tuple[Access, ...]
    keys: Keys
    enclave: Enclave

    @classmethod
    def of(cls, document: Mapping[str, Any]) -> NormalisedRun:
        """What a normalised run file says. Raises ``PlanMalformed``."""
        try:
            return msgspec.convert(document.get("spec"), cls, dec_hook=_settings)
        except msgspec.ValidationError as error:
            raise PlanMalformed(place="spec", actual=" ".join(str(error).split())[:200]) from None


def _settings(kind: type, value: object) -> object:
    """The trainer's own settings, read by the trainer's own rules."""
    if kind in (LoraConfig, TrainingConfig):
        return kind.model_validate(value)
    raise NotImplementedError(kind)
