"""Adding an adapter to the base model's weights: ``W + (alpha / rank) B A`` (arXiv:2106.09685).

Works on the bytes of the base model's own safetensors files: the tensors that have an adapter are
replaced in place, and names, order, types and every other tensor stay as they are. The sum is made
in float32 and rounded once, to the type that the base model is stored in. With bfloat16 that
rounding (8 bits) is coarser than many updates, so a merged model answers almost, but not exactly,
like base and adapter apart.
"""

from __future__ import annotations

import math

import msgspec
import torch
from torch import Tensor

from strongroom.errors import bounded_json
from strongroom.trainer.checkpoints.checkpoint import read_adapter
from strongroom.trainer.errors import CheckpointMismatch, ModelFileInvalid
from strongroom.trainer.model.lora import PEFT_PREFIX

_TYPES = {"F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16}
_LENGTH_BYTES = 8
_A, _B = ".lora_A.weight", ".lora_B.weight"


class AdapterMerge:
    """Adds an adapter to a base model, file by file."""

    def __init__(self, adapter: bytes) -> None:
        """``adapter`` is a checkpoint's. Raises ``CheckpointInvalid``."""
        weights, settings = read_adapter(adapter)
        self._weights = weights
        self._scaling = settings.lora_alpha / settings.r
        self._left = {
            name.removeprefix(PEFT_PREFIX).removesuffix(_A) + ".weight"
            for name in weights
            if name.endswith(_A)
        }

    def add_to(self, file: bytearray) -> None:
        """Add the adapter to those of its weights that the safetensors ``file`` holds, in place.

        Raises ``ModelFileInvalid`` and ``CheckpointMismatch``.
        """
        entries, body = _entries(file)
        for name, entry in entries.items():
            if name not in self._left:
                continue
            layer = PEFT_PREFIX + name.removesuffix(".weight")
            low_in, low_out = self._weights[layer + _A], self._weights[layer + _B]
            shape = (low_out.shape[0], low_in.shape[1])
            if entry.shape != shape:
                raise CheckpointMismatch(place=name, expected=str(shape), actual=str(entry.shape))
            weight = _view(file, entry, body)
            update = low_out.float() @ low_in.float()
            weight.copy_(weight.float() + self._scaling * update)
            self._left.remove(name)

    def check_complete(self) -> None:
        """Raise ``CheckpointMismatch`` unless every weight of the adapter was added."""
        if self._left:
            raise CheckpointMismatch(
                place=min(self._left), expected="a weight of the base model", actual="none"
            )


def warm_up() -> None:
    """Do once what a merge does, so that nothing is imported or compiled after a lock-down."""
    torch.set_num_threads(1)  # one order of summation, and a merge is bound by memory anyway
    low_in, low_out = torch.ones(1, 2), torch.ones(2, 1)
    for dtype in _TYPES.values():
        weight = torch.frombuffer(bytearray(4 * dtype.itemsize), dtype=dtype).view(2, 2)
        weight.copy_(weight.float() + 2.0 * (low_out @ low_in))


class _Entry(msgspec.Struct, frozen=True):
    """A tensor in a safetensors header."""

    dtype: str
    shape: tuple[int, ...]
    data_offsets: tuple[int, int]
    """Its first byte and its end, from the end of the header."""


def _entries(file: bytearray) -> tuple[dict[str, _Entry], int]:
    """The tensors of a safetensors file by name, and where the header ends."""
    end = _LENGTH_BYTES + int.from_bytes(file[:_LENGTH_BYTES], "little")
    try:
        header = bounded_json.decode(file[_LENGTH_BYTES:end], shape=dict[str, msgspec.Raw])
        header.pop("__metadata__", None)
        return {name: bounded_json.decode(raw, shape=_Entry) for name, raw in header.items()}, end
    except msgspec.DecodeError:
        raise ModelFileInvalid(place="*.safetensors", expected="safetensors") from None


def _view(file: bytearray, entry: _Entry, body: int) -> Tensor:
    """The tensor's bytes in ``file``, whose header ends at ``body``, as a writable tensor."""
    start = body + entry.data_offsets[0]
    try:
        flat = torch.frombuffer(
            file, dtype=_TYPES[entry.dtype], count=math.prod(entry.shape), offset=start
        )
    except (KeyError, ValueError):
        raise ModelFileInvalid(
            place="*.safetensors", expected=f"weights of type {', '.join(_TYPES)}"
        ) from None
    return flat.view(entry.shape)
