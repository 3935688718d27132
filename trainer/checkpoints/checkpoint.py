"""Checkpoints as bytes: a resumed run continues bit for bit as if it had not been interrupted.

Two safetensors blobs, no pickle: the ``adapter`` under PEFT's names, which plain ``peft`` loads
together with the configuration in its metadata, and the ``state``: optimiser moments, generator
state, step and settings. The bytes hold no time and no path: equal runs give equal bytes.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TypeVar

import msgspec
import safetensors
import safetensors.torch
import torch
import transformers
from torch import Tensor

from strongroom.errors import bounded_json
from strongroom.trainer.config import TrainingConfig
from strongroom.trainer.data.plaintext import Plaintext
from strongroom.trainer.errors import CheckpointInvalid, CheckpointMismatch
from strongroom.trainer.model.lora import Policy
from strongroom.trainer.steps.state import TrainingState, new_state

FORMAT = 2
_METADATA = "strongroom"
_EXP_AVG, _EXP_AVG_SQ, _RNG = "exp_avg/", "exp_avg_sq/", "rng"


class Checkpoint(Plaintext, msgspec.Struct, frozen=True):
    """A run after ``step`` steps."""

    step: int
    adapter: bytes
    """safetensors: LoRA weights, float32, under PEFT's names; metadata: PEFT's configuration."""
    state: bytes
    """safetensors: Adam's moments under those names, generator state; metadata: step, settings."""


class AdapterSettings(msgspec.Struct, frozen=True):
    """Of PEFT's configuration, what a merge needs."""

    r: int
    lora_alpha: float


_M = TypeVar("_M", AdapterSettings, "_StateMetadata")


class _Cursor(msgspec.Struct, frozen=True):
    rows: int


class _StateMetadata(msgspec.Struct, frozen=True):
    """What stands beside the tensors of a ``state``; the settings as the text that was written."""

    format: msgspec.Raw
    lora: msgspec.Raw
    training: msgspec.Raw
    versions: msgspec.Raw
    cursor: _Cursor
    step: int
    updates: int

    def settings(self) -> dict[str, str]:
        """Each part of the settings as JSON, by name."""
        parts = {"lora": self.lora, "training": self.training, "versions": self.versions}
        return {
            name: bytes(text).decode() for name, text in {"format": self.format, **parts}.items()
        }


def save(policy: Policy, state: TrainingState, config: TrainingConfig) -> Checkpoint:
    """The checkpoint of the present state."""
    weights = {name: weight.detach() for name, weight in policy.named_weights().items()}
    tensors: dict[str, Tensor] = {_RNG: state.generator.get_state()}
    for name, span in policy.spans().items():
        tensors[_EXP_AVG + name] = state.optimizer.exp_avg[span]
        tensors[_EXP_AVG_SQ + name] = state.optimizer.exp_avg_sq[span]
    return Checkpoint(
        step=state.step,
        adapter=_dump(weights, policy.lora.peft()),
        state=_dump(tensors, {**_settings(policy, config), **_position(state)}),
    )


def restore(
    policy: Policy, state: TrainingState, checkpoint: Checkpoint, config: TrainingConfig
) -> None:
    """Set ``policy`` and ``state`` to the checkpoint's, in place.

    Raises :class:`CheckpointInvalid` for bytes that are not a checkpoint, and
    :class:`CheckpointMismatch` for one of other settings or another model. Neither changes
    anything.
    """
    weights = _tensors(checkpoint.adapter, "adapter")
    tensors = _tensors(checkpoint.state, "state")
    metadata = _metadata(checkpoint.state, "state", _StateMetadata)
    found = metadata.settings()
    for name, value in _settings(policy, config).items():
        expected = _json(value)
        if found[name] != expected:
            raise CheckpointMismatch(
                place=f"checkpoint {name}", expected=expected, actual=found[name]
            )
    spans = policy.spans()
    for name, weight in policy.named_weights().items():
        _check(weights, name, tuple(weight.shape))
        _check(tensors, _EXP_AVG + name, (weight.numel(),))
        _check(tensors, _EXP_AVG_SQ + name, (weight.numel(),))
    if _RNG not in tensors or metadata.step != checkpoint.step:
        raise CheckpointInvalid(place="checkpoint state", expected=f"step {checkpoint.step}")
    state.generator.set_state(tensors[_RNG])
    for name, span in spans.items():
        policy.flat[span] = weights[name].flatten()
        state.optimizer.exp_avg[span] = tensors[_EXP_AVG + name]
        state.optimizer.exp_avg_sq[span] = tensors[_EXP_AVG_SQ + name]
    state.optimizer.updates = metadata.updates
    state.step = checkpoint.step
    state.rows_taken = metadata.cursor.rows
    policy.flat_grad.zero_()


def resumed_state(policy: Policy, config: TrainingConfig, checkpoint: Checkpoint) -> TrainingState:
    """A new state, restored from ``checkpoint``. Raises as :func:`restore`."""
    state = new_state(policy, config)
    restore(policy, state, checkpoint, config)
    return state


def load_adapter(policy: Policy, adapter: bytes) -> None:
    """Put a checkpoint's adapter into ``policy``, for evaluation. Raises as :func:`restore`."""
    weights = _tensors(adapter, "adapter")
    named = policy.named_weights()
    for name, weight in named.items():
        _check(weights, name, tuple(weight.shape))
    for name, span in policy.spans().items():
        policy.flat[span] = weights[name].flatten()


def read_adapter(adapter: bytes) -> tuple[dict[str, Tensor], AdapterSettings]:
    """A checkpoint's adapter: weights by PEFT's names, and its settings.

    Raises :class:`CheckpointInvalid`.
    """
    return _tensors(adapter, "adapter"), _metadata(adapter, "adapter", AdapterSettings)


def _settings(policy: Policy, config: TrainingConfig) -> dict[str, object]:
    """What must be the same for a run to continue."""
    return {
        "format": FORMAT,
        "lora": policy.lora.model_dump(mode="json"),
        "training": config.model_dump(mode="json"),
        "versions": {"torch": torch.__version__, "transformers": transformers.__version__},
    }


def _position(state: TrainingState) -> dict[str, object]:
    return {
        "cursor": {"rows": state.rows_taken},
        "step": state.step,
        "updates": state.optimizer.updates,
    }


def _json(value: object) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"))


def _dump(tensors: Mapping[str, Tensor], metadata: Mapping[str, object]) -> bytes:
    text = _json(metadata)  # under one key: the library writes several in no fixed order
    ordered = {name: tensor.contiguous().cpu() for name, tensor in sorted(tensors.items())}
    return bytes(safetensors.torch.save(ordered, metadata={_METADATA: text}))


def _tensors(data: bytes, place: str) -> dict[str, Tensor]:
    try:
        return dict(safetensors.torch.load(data))
    except (safetensors.SafetensorError, KeyError, ValueError, TypeError, RuntimeError):
        raise CheckpointInvalid(place=f"checkpoint {place}", expected="safetensors") from None


class _Header(msgspec.Struct, frozen=True):
    """A safetensors header, as far as it is metadata."""

    metadata: dict[str, str] = msgspec.field(name="__metadata__")


def _metadata(data: bytes, place: str, kind: type[_M]) -> _M:
    """The metadata in a safetensors blob."""
    try:
        header = bounded_json.decode(
            data[8 : 8 + int.from_bytes(data[:8], "little")], shape=_Header
        )
        return bounded_json.decode(header.metadata[_METADATA], shape=kind)
    except (msgspec.DecodeError, KeyError):
        raise CheckpointInvalid(place=f"checkpoint {place}", expected="metadata") from None


def _check(tensors: dict[str, Tensor], name: str, shape: tuple[int, ...]) -> None:
    have = tuple(tensors[name].shape) if name in tensors else "nothing"
    if have != shape:
        raise CheckpointMismatch(place=f"checkpoint {name}", expected=str(shape), actual=str(have))
