"""What a base model's files may say: checked without torch, where they are uploaded and where they
are loaded.

They come from whoever published the model. A decoder is built from the settings below and from no
other, each within bounds that no known model comes near, so that no file makes a process look for
a hundred million layers. Whether the weights fit is seen when they are loaded.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal, TypeAlias, TypeVar

import msgspec
import tokenizers
from jinja2 import TemplateError, TemplateSyntaxError
from msgspec import Meta

from strongroom.errors import bounded_json
from strongroom.trainer.data.chat_template import render_chat
from strongroom.trainer.errors import (
    ModelFileInvalid,
    ModelFileMissing,
    ModelMismatch,
    ModelUnsupported,
)

T = TypeVar("T")
Buffer: TypeAlias = bytes | bytearray | memoryview
SUPPORTED_TYPES = ("llama", "qwen2", "qwen3")
"""Decoders whose logits are ``lm_head(hidden)``, without scaling, capping or sliding windows."""
CONFIG, GENERATION = "config.json", "generation_config.json"
TOKENIZER, TOKENIZER_CONFIG = "tokenizer.json", "tokenizer_config.json"
TEMPLATE = "chat_template.jinja"
MAX_JSON_BYTES = 64 << 20
SPECIAL_TOKENS = ("bos_token", "eos_token", "pad_token", "unk_token")

_Width = Annotated[int, Meta(ge=1, le=1 << 20)]
_Heads = Annotated[int, Meta(ge=1, le=4096)]
_Token = Annotated[int, Meta(ge=0, lt=1 << 24)]
_Tokens = _Token | Annotated[tuple[_Token, ...], Meta(min_length=1, max_length=1 << 18)] | None
_Number = float | int | bool | str | None
_Rope = dict[str, _Number | Annotated[tuple[float, ...], Meta(max_length=4096)]] | None


class DecoderConfig(msgspec.Struct, frozen=True, kw_only=True):
    """The settings of config.json that a decoder is built from."""

    model_type: Literal["llama", "qwen2", "qwen3"]
    vocab_size: Annotated[int, Meta(ge=1, le=1 << 24)]
    hidden_size: _Width
    intermediate_size: _Width
    num_hidden_layers: Annotated[int, Meta(ge=1, le=512)]
    num_attention_heads: _Heads
    max_position_embeddings: Annotated[int, Meta(ge=1, le=1 << 24)]
    num_key_value_heads: _Heads | None = None
    head_dim: _Heads | None = None
    hidden_act: str = "silu"
    rms_norm_eps: Annotated[float, Meta(gt=0, lt=1)] = 1e-6
    tie_word_embeddings: bool = False
    attention_bias: bool = False
    mlp_bias: bool = False
    rope_theta: Annotated[float, Meta(gt=0)] | None = None
    rope_scaling: _Rope = None
    rope_parameters: _Rope = None
    layer_types: Annotated[tuple[str, ...], Meta(max_length=512)] | None = None


class _Ends(msgspec.Struct, frozen=True):
    eos_token_id: _Tokens = None


class _Refused(msgspec.Struct, frozen=True):
    """What no decoder of ours has; any value counts but those that say no."""

    quantization_config: Any = None
    auto_map: Any = None
    use_sliding_window: Any = None
    layer_types: Any = None


def read_file(files: Mapping[str, Buffer], name: str) -> bytes:
    """A file's bytes. Raises ``ModelFileMissing``."""
    if name not in files:
        raise ModelFileMissing(place=name, actual=f"{len(files)} other files")
    data = files[name]
    return data if isinstance(data, bytes) else bytes(data)


def decoder_config(files: Mapping[str, Buffer]) -> dict[str, Any]:
    """The settings that a decoder is built from, as config.json gives them.

    Raises ``ModelFileMissing``, ``ModelFileInvalid`` and ``ModelUnsupported``.
    """
    data = read_file(files, CONFIG)
    plain = _json(data, CONFIG)
    if plain.get("model_type") not in SUPPORTED_TYPES:
        raise ModelUnsupported(place=CONFIG, expected=f"model_type {' or '.join(SUPPORTED_TYPES)}")
    refused = msgspec.convert(plain, _Refused)
    for name in ("quantization_config", "auto_map"):
        if getattr(refused, name):
            raise ModelUnsupported(place=CONFIG, expected=f"no {name}")
    kinds = refused.layer_types if isinstance(refused.layer_types, list) else []
    if refused.use_sliding_window or any(kind != "full_attention" for kind in kinds):
        raise ModelUnsupported(place=CONFIG, expected="no sliding window")
    config = _read(plain, DecoderConfig, CONFIG)
    if config.layer_types is not None and len(config.layer_types) != config.num_hidden_layers:
        raise ModelFileInvalid(place=f"{CONFIG} layer_types", expected="one for each layer")
    names = [field.name for field in msgspec.structs.fields(DecoderConfig)]
    return {name: plain[name] for name in names if plain.get(name) is not None}


def end_tokens(files: Mapping[str, Buffer], tokenizer: int | None) -> tuple[int, ...]:
    """Token ids that end a completion: of the generation's settings, the model's, or the
    ``tokenizer``'s own. Raises ``ModelMismatch`` where there is none."""
    size = decoder_config(files)["vocab_size"]
    for name in (GENERATION, CONFIG):
        if name not in files:
            continue
        found = _read(_json(read_file(files, name), name), _Ends, name).eos_token_id
        if found is not None:
            ids = found if isinstance(found, tuple) else (found,)
            if max(ids) >= size:
                expected, actual = f"token ids below {size}", str(max(ids))
                raise ModelMismatch(place=f"{name} eos_token_id", expected=expected, actual=actual)
            return ids
    if tokenizer is None:
        raise ModelMismatch(place="config.json eos_token_id", expected="an end token")
    return (tokenizer,)


class TokenizerFiles(msgspec.Struct, frozen=True):
    """A tokenizer with its special tokens and its chat template."""

    backend: Any
    special: dict[str, str]
    template: str


def tokenizer_files(files: Mapping[str, Buffer]) -> TokenizerFiles:
    """Raises ``ModelFileMissing``, ``ModelFileInvalid`` and ``ModelMismatch``."""
    settings = _json(read_file(files, TOKENIZER_CONFIG), TOKENIZER_CONFIG)
    data = read_file(files, TOKENIZER)
    _json(data, TOKENIZER)
    try:
        backend = tokenizers.Tokenizer.from_str(data.decode())
    except BaseException as error:  # the Rust side raises bare Exception, and panics beside it
        if isinstance(error, KeyboardInterrupt | SystemExit):
            raise
        raise ModelFileInvalid(place=TOKENIZER, expected="a fast tokenizer") from None
    special = {}
    for name in SPECIAL_TOKENS:
        value = settings.get(name)
        text = value.get("content") if isinstance(value, dict) else value
        if text is None:
            continue
        if not isinstance(text, str) or backend.token_to_id(text) is None:
            raise ModelMismatch(place=f"{TOKENIZER_CONFIG} {name}", expected="a known token")
        special[name] = text
    template = settings.get("chat_template")
    if TEMPLATE in files:
        template = read_file(files, TEMPLATE).decode(errors="replace")
    if not isinstance(template, str):
        raise ModelFileMissing(place=TEMPLATE, expected="a chat template")
    question = _written(template, special)
    try:
        token_ids(backend, question)
    except TokenizerGaveUp:
        expected = "a tokenizer that takes one question apart"
        raise ModelFileInvalid(place=TOKENIZER, expected=expected) from None
    return TokenizerFiles(backend, special, template)


class TokenizerGaveUp(ValueError):
    """A tokenizer's pattern backtracks for too long on a text."""


def token_ids(backend: Any, text: str) -> list[int]:
    """Token ids of ``text``, with nothing added. Raises ``TokenizerGaveUp``."""
    try:
        ids: list[int] = backend.encode(text, add_special_tokens=False).ids
    except BaseException as error:  # a panic of the Rust side is no Exception
        if type(error).__name__ != "PanicException":
            raise
        raise TokenizerGaveUp from None
    return ids


def check_model_files(files: Mapping[str, Buffer]) -> None:
    """Check all files but the weights, as they are checked again where a model is loaded."""
    decoder_config(files)
    tokenizer = tokenizer_files(files)
    eos = tokenizer.special.get("eos_token")
    end_tokens(files, None if eos is None else tokenizer.backend.token_to_id(eos))


def _written(template: str, special: Mapping[str, str]) -> str:
    """One question, which must be possible; what else a template refuses is seen row by row."""
    try:
        return render_chat(template, [{"role": "user", "content": "Hello"}], None, special)
    except TemplateSyntaxError as error:
        place = f"{TEMPLATE}:{error.lineno}"
        raise ModelFileInvalid(place=place, expected="a Jinja template") from None
    except Exception as error:
        reason = type(error).__name__
        if isinstance(error, TemplateError) and "strftime_now" in str(error):
            reason = "one that needs today's date, which no prompt may depend on"
        raise ModelFileInvalid(
            place=TEMPLATE, expected="a template that writes one question", actual=reason
        ) from None


def _json(data: bytes, name: str) -> dict[str, Any]:
    try:
        if len(data) > MAX_JSON_BYTES:
            raise ModelFileInvalid(place=name, expected=f"at most {MAX_JSON_BYTES} bytes")
        value = bounded_json.decode(data)
    except msgspec.DecodeError:
        raise ModelFileInvalid(place=name, expected="JSON") from None
    if not isinstance(value, dict):
        raise ModelFileInvalid(place=name, expected="a JSON object")
    return value


def _read(plain: dict[str, Any], shape: type[T], name: str) -> T:
    try:
        return msgspec.convert(plain, shape)
    except msgspec.ValidationError as error:
        raise ModelFileInvalid(
            place=name, expected="settings of a known decoder", actual=str(error)[:200]
        ) from None
