"""The base model, built from bytes in memory: no disk, no network, none of the model's own code.

Invariants: every weight named by config.json is present with its exact shape and no other is
accepted; a model with tied embeddings may leave out ``lm_head.weight``; the tokenizer comes from
tokenizer.json alone. Weights keep their values and are frozen.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import safetensors
import safetensors.torch
import torch
import transformers
from torch import Tensor

from strongroom.trainer.errors import (
    ModelFileInvalid,
    ModelFileMissing,
    ModelMismatch,
    ModelUnsupported,
)
from strongroom.trainer.model.attention import GROUPED
from strongroom.trainer.model.files import (
    Buffer,
    decoder_config,
    end_tokens,
    read_file,
    tokenizer_files,
)
from strongroom.trainer.model.linear import multiply_in_float32

_COMPUTED = ".rotary_emb.inv_freq"


@dataclass(frozen=True)
class Base:
    """A frozen causal language model and its tokenizer."""

    model: Any
    """A ``transformers`` model with a decoder and an output head, in evaluation mode."""
    tokenizer: Any
    """A ``PreTrainedTokenizerFast`` with a chat template."""
    end_tokens: tuple[int, ...]
    """Token ids that end a completion; the first also pads."""
    max_positions: int
    """Longest prompt and completion together, in tokens."""


def load_base(
    files: Mapping[str, Buffer], dtype: torch.dtype, threads: int, device: str = "cpu"
) -> Base:
    """Build the base model from its files by name.

    ``files`` holds config.json, tokenizer.json, tokenizer_config.json, ``*.safetensors`` and,
    where the model has them, generation_config.json and chat_template.jinja. ``threads`` sets how
    many threads torch uses in this process; ``device`` is torch's name of where the model runs. On
    a CPU, torch uses its deterministic algorithms from then on, in the whole process.
    Raises the ``SR-TRAIN-001`` to ``-004`` errors.
    """
    torch.set_num_threads(threads)
    # Without this, threads add up the float32 gradient of one index in the order of their arrival.
    torch.use_deterministic_algorithms(device == "cpu")
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    settings = decoder_config(files)
    model = _empty_model(settings, dtype)
    _fill(model, _weights(files), dtype)
    if device == "cpu":
        multiply_in_float32(model, dtype)
    read = tokenizer_files(files)
    tokenizer = transformers.PreTrainedTokenizerFast(
        tokenizer_object=read.backend, chat_template=read.template, **read.special
    )
    return Base(
        model=model.requires_grad_(False).eval().to(device),
        tokenizer=tokenizer,
        end_tokens=end_tokens(files, tokenizer.eos_token_id),
        max_positions=settings["max_position_embeddings"],
    )


def _empty_model(settings: dict[str, Any], dtype: torch.dtype) -> transformers.PreTrainedModel:
    try:
        config = transformers.AutoConfig.for_model(**settings)
        with torch.device("meta"):
            model = transformers.AutoModelForCausalLM.from_config(
                config, dtype=dtype, attn_implementation=GROUPED
            )
        # Rotary frequencies are computed, not stored, and would stay on the meta device.
        decoder = model.get_decoder()
        decoder.rotary_emb = type(decoder.rotary_emb)(config=config)
    except Exception as error:
        # transformers raises what its validators raise; the type is enough to look it up.
        raise ModelFileInvalid(
            place="config.json",
            expected=f"a {settings['model_type']} configuration",
            actual=type(error).__name__,
        ) from None
    return model


def _weights(files: Mapping[str, Buffer]) -> dict[str, Tensor]:
    names = sorted(name for name in files if name.endswith(".safetensors"))
    if not names:
        raise ModelFileMissing(place="*.safetensors", actual=f"{len(files)} other files")
    weights: dict[str, Tensor] = {}
    for name in names:
        try:
            part = safetensors.torch.load(read_file(files, name))
        except (safetensors.SafetensorError, KeyError, ValueError, RuntimeError):
            raise ModelFileInvalid(place=name, expected="safetensors") from None
        repeated = weights.keys() & part.keys()
        if repeated:
            raise ModelMismatch(place=name, actual=f"{min(repeated)} a second time")
        weights.update(part)
    # Computed from config.json; checkpoints of 2023 hold a copy for each layer.
    return {name: part for name, part in weights.items() if not name.endswith(_COMPUTED)}


def _fill(
    model: transformers.PreTrainedModel, weights: dict[str, Tensor], dtype: torch.dtype
) -> None:
    expected = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    if getattr(model.config, "tie_word_embeddings", False):
        # A tied head is the embedding itself; a stored copy could differ and would be ignored.
        weights.pop("lm_head.weight", None)
        expected.pop("lm_head.weight", None)
    for name in sorted(expected.keys() | weights.keys()):
        want = expected.get(name, "no such weight")
        have = tuple(weights[name].shape) if name in weights else "nothing"
        if want != have:
            raise ModelMismatch(place=name, expected=str(want), actual=str(have))
        if not weights[name].is_floating_point():
            raise ModelUnsupported(place=name, expected="floating-point weights")
    filled = {name: tensor.to(dtype) for name, tensor in weights.items()}
    model.load_state_dict(filled, strict=False, assign=True)
    model.tie_weights()
    for name, tensor in (*model.named_parameters(), *model.named_buffers()):
        if tensor.is_meta:
            raise ModelUnsupported(place=name, expected="only weights and rotary frequencies")
