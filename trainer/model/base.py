"""The base model, built from bytes in memory: no disk, no network, none of the model's own code.

Invariants: every weight named by config.json is present with its exact shape and no other is
accepted; a model with tied embeddings may leave out ``lm_head.weight``; the tokenizer comes from
tokenizer.json alone. Weights keep their values and are frozen.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import safetensors
import safetensors.torch
import tokenizers
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
from strongroom.trainer.model.linear import multiply_in_float32

Buffer = bytes | bytearray | memoryview

SUPPORTED_TYPES = ("llama", "qwen2", "qwen3")
"""Decoders whose logits are ``lm_head(hidden)``, without scaling, capping or sliding windows."""

_SPECIAL_TOKENS = ("bos_token", "eos_token", "pad_token", "unk_token")


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
    settings = _json(files, "config.json")
    model = _empty_model(settings, dtype)
    _fill(model, _weights(files), dtype)
    if device == "cpu":
        multiply_in_float32(model, dtype)
    tokenizer = _tokenizer(files)
    return Base(
        model=model.requires_grad_(False).eval().to(device),
        tokenizer=tokenizer,
        end_tokens=_end_tokens(files, settings, tokenizer),
        max_positions=int(settings["max_position_embeddings"]),
    )


def _file(files: Mapping[str, Buffer], name: str) -> bytes:
    if name not in files:
        raise ModelFileMissing(place=name, actual=f"{len(files)} other files")
    data = files[name]
    return data if isinstance(data, bytes) else bytes(data)


def _json(files: Mapping[str, Buffer], name: str) -> dict[str, Any]:
    try:
        value = json.loads(_file(files, name))
    except (ValueError, RecursionError):
        raise ModelFileInvalid(place=name, expected="JSON") from None
    if not isinstance(value, dict):
        raise ModelFileInvalid(place=name, expected="a JSON object")
    return value


def _empty_model(settings: dict[str, Any], dtype: torch.dtype) -> transformers.PreTrainedModel:
    kind = settings.get("model_type")
    if kind not in SUPPORTED_TYPES:
        raise ModelUnsupported(
            place="config.json", expected=f"model_type {' or '.join(SUPPORTED_TYPES)}"
        )
    for key in ("quantization_config", "auto_map"):
        if settings.get(key):
            raise ModelUnsupported(place="config.json", expected=f"no {key}")
    if settings.get("use_sliding_window"):
        raise ModelUnsupported(place="config.json", expected="no sliding window")
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
            place="config.json", expected=f"a {kind} configuration", actual=type(error).__name__
        ) from None
    return model


def _weights(files: Mapping[str, Buffer]) -> dict[str, Tensor]:
    names = sorted(name for name in files if name.endswith(".safetensors"))
    if not names:
        raise ModelFileMissing(place="*.safetensors", actual=f"{len(files)} other files")
    weights: dict[str, Tensor] = {}
    for name in names:
        try:
            part = safetensors.torch.load(_file(files, name))
        except (safetensors.SafetensorError, KeyError, ValueError, RuntimeError):
            raise ModelFileInvalid(place=name, expected="safetensors") from None
        repeated = weights.keys() & part.keys()
        if repeated:
            raise ModelMismatch(place=name, actual=f"{min(repeated)} a second time")
        weights.update(part)
    return weights


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


def _tokenizer(files: Mapping[str, Buffer]) -> transformers.PreTrainedTokenizerFast:
    settings = _json(files, "tokenizer_config.json")
    data = _file(files, "tokenizer.json")
    try:
        backend = tokenizers.Tokenizer.from_str(data.decode())
    except Exception:  # the Rust side raises bare Exception
        raise ModelFileInvalid(place="tokenizer.json", expected="a fast tokenizer") from None
    special = {}
    for name in _SPECIAL_TOKENS:
        value = settings.get(name)
        text = value.get("content") if isinstance(value, dict) else value
        if text is None:
            continue
        if not isinstance(text, str) or backend.token_to_id(text) is None:
            raise ModelMismatch(place=f"tokenizer_config.json {name}", expected="a known token")
        special[name] = text
    if "chat_template.jinja" in files:
        settings["chat_template"] = _file(files, "chat_template.jinja").decode(errors="replace")
    template = settings.get("chat_template")
    if not isinstance(template, str):
        raise ModelFileMissing(place="chat_template.jinja", expected="a chat template")
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=backend, chat_template=template, **special
    )


def _end_tokens(
    files: Mapping[str, Buffer],
    settings: dict[str, Any],
    tokenizer: transformers.PreTrainedTokenizerFast,
) -> tuple[int, ...]:
    generation = _json(files, "generation_config.json") if "generation_config.json" in files else {}
    for value in (
        generation.get("eos_token_id"),
        settings.get("eos_token_id"),
        tokenizer.eos_token_id,
    ):
        if value is not None:
            return tuple(value) if isinstance(value, list) else (int(value),)
    raise ModelMismatch(place="config.json eos_token_id", expected="an end token")
