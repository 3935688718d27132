"""A base model's files: what is odd is named, quickly, and nothing but our errors escapes."""

from __future__ import annotations

import contextlib
import json
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from strongroom.trainer.errors import (
    ModelFileInvalid,
    ModelFileMissing,
    ModelMismatch,
    ModelUnsupported,
    TrainError,
)
from strongroom.trainer.model.base import load_base
from strongroom.trainer.model.files import check_model_files, decoder_config, end_tokens
from support.tiny_model import END_TOKENS, tiny_files

FILES = tiny_files()
CONFIG = json.loads(FILES["config.json"])


def with_config(**changes: Any) -> dict[str, bytes]:
    plain = {**CONFIG, **changes}
    plain = {name: value for name, value in plain.items() if value is not ...}
    return {**FILES, "config.json": json.dumps(plain).encode()}


def test_a_good_model_passes_and_is_built_from_the_same_settings() -> None:
    check_model_files(FILES)
    base = load_base(FILES, torch.float32, threads=1)
    assert base.max_positions == CONFIG["max_position_embeddings"]
    assert base.end_tokens == END_TOKENS == end_tokens(FILES, None)


ODD: list[tuple[dict[str, Any], type[TrainError]]] = [
    ({"max_position_embeddings": ...}, ModelFileInvalid),
    ({"max_position_embeddings": None}, ModelFileInvalid),
    ({"max_position_embeddings": "512"}, ModelFileInvalid),
    ({"max_position_embeddings": 0}, ModelFileInvalid),
    ({"num_hidden_layers": 10**8}, ModelFileInvalid),
    ({"num_hidden_layers": -1}, ModelFileInvalid),
    ({"hidden_size": 10**9}, ModelFileInvalid),
    ({"vocab_size": 2**40}, ModelFileInvalid),
    ({"vocab_size": 1.5}, ModelFileInvalid),
    ({"num_attention_heads": True}, ModelFileInvalid),
    ({"rms_norm_eps": 0}, ModelFileInvalid),
    ({"rope_scaling": [1]}, ModelFileInvalid),
    ({"rope_scaling": {"factor": {"deep": 1}}}, ModelFileInvalid),
    ({"layer_types": ["full_attention"] * 3}, ModelFileInvalid),
    ({"layer_types": ["sliding_attention"] * 2}, ModelUnsupported),
    ({"use_sliding_window": True}, ModelUnsupported),
    ({"auto_map": {"AutoModel": "x.py"}}, ModelUnsupported),
    ({"quantization_config": {"bits": 4}}, ModelUnsupported),
    ({"model_type": ["llama"]}, ModelUnsupported),
    ({"eos_token_id": "2"}, ModelFileInvalid),
    ({"eos_token_id": [[2]]}, ModelFileInvalid),
    ({"eos_token_id": []}, ModelFileInvalid),
    ({"eos_token_id": -1}, ModelFileInvalid),
    ({"eos_token_id": 1.5}, ModelFileInvalid),
    ({"eos_token_id": True}, ModelFileInvalid),
    ({"eos_token_id": {"id": 2}}, ModelFileInvalid),
    ({"eos_token_id": 10**6}, ModelMismatch),
]


@pytest.mark.parametrize(("changes", "kind"), ODD, ids=lambda value: str(value)[:50])
def test_an_odd_setting_is_named_where_it_is_uploaded_and_where_it_is_loaded(
    changes: dict[str, Any], kind: type[TrainError]
) -> None:
    files = with_config(**changes)
    for check in (check_model_files, lambda files: load_base(files, torch.float32, threads=1)):
        with pytest.raises(kind) as caught:
            check(files)
        assert "config.json" in caught.value.place


def test_settings_that_no_decoder_has_are_left_out() -> None:
    """transformers would make a table of a thousand million labels."""
    odd = {"num_labels": 10**9, "id2label": {"x": "y"}, "pruned_heads": {"0": [1]}, "_name": 1}
    assert decoder_config(with_config(**odd)) == decoder_config(FILES)
    assert load_base(with_config(**odd), torch.float32, threads=1)


@pytest.mark.parametrize("name", ["config.json", "generation_config.json", "tokenizer_config.json"])
@pytest.mark.parametrize("data", [b"", b"[]", b"\xff", b"[" * 990 + b"]" * 990, b'{"a":1'])
def test_json_that_is_none_is_named(name: str, data: bytes) -> None:
    with pytest.raises(ModelFileInvalid) as caught:
        check_model_files({**FILES, name: data})
    assert caught.value.place == name


@pytest.mark.parametrize(
    "data",
    [
        b"{}",
        b"null",
        b'{"model":{}}',
        b'{"version":"1.0","model":{"type":"BPE","vocab":{},"merges":[["a","b"]]}}',
        b"[" * 200 + b"]" * 200,
        json.dumps(
            {**json.loads(FILES["tokenizer.json"]), "pre_tokenizer": {"type": "x"}}
        ).encode(),
        json.dumps(
            {
                **json.loads(FILES["tokenizer.json"]),
                "pre_tokenizer": {
                    "type": "Split",
                    "pattern": {"Regex": "(unclosed"},
                    "behavior": "Isolated",
                    "invert": False,
                },
            }
        ).encode(),
    ],
)
def test_a_tokenizer_that_is_none_is_named(data: bytes) -> None:
    with pytest.raises(TrainError) as caught:
        check_model_files({**FILES, "tokenizer.json": data})
    assert caught.value.place.startswith("tokenizer")


@pytest.mark.parametrize(
    ("template", "said"),
    [
        ("{% for", "chat_template.jinja:1"),
        (
            "{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}",
            "Endless",
        ),
        ("Today is {{ strftime_now('%d %b %Y') }}", "today's date"),
        ("{{ raise_exception('no') }}", "TemplateError"),
        ("{{ messages[5].content }}", "UndefinedError"),
    ],
)
def test_a_template_that_writes_no_question_is_named(template: str, said: str) -> None:
    with pytest.raises(ModelFileInvalid) as caught:
        check_model_files({**FILES, "chat_template.jinja": template.encode()})
    assert said in str(caught.value)


def test_a_model_without_a_file_that_it_needs_is_named() -> None:
    for name in ("config.json", "tokenizer.json", "tokenizer_config.json", "chat_template.jinja"):
        files = {other: data for other, data in FILES.items() if other != name}
        with pytest.raises(ModelFileMissing):
            check_model_files(files)


VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**62), 2**62)
    | st.floats(allow_nan=False)
    | st.text(max_size=5)
    | st.sampled_from(["llama", "silu", "full_attention", "default", "dynamic", "yarn"]),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=6,
)
NAMES = st.sampled_from(
    [
        *CONFIG,
        "head_dim",
        "hidden_act",
        "rope_scaling",
        "rope_parameters",
        "rope_theta",
        "layer_types",
    ]
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.dictionaries(NAMES, VALUES, max_size=3))
def test_any_settings_give_a_model_or_one_of_our_errors(changes: dict[str, Any]) -> None:
    files = with_config(**changes)
    with contextlib.suppress(TrainError):
        check_model_files(files)
        load_base(files, torch.float32, threads=1)


@settings(max_examples=60, deadline=None)
@given(
    st.dictionaries(
        st.sampled_from(["bos_token", "eos_token", "pad_token", "chat_template", "x"]),
        VALUES,
        max_size=3,
    )
)
def test_any_tokenizer_settings_give_a_tokenizer_or_one_of_our_errors(
    changes: dict[str, Any],
) -> None:
    plain = {**json.loads(FILES["tokenizer_config.json"]), **changes}
    files = {**FILES, "tokenizer_config.json": json.dumps(plain).encode()}
    del files["chat_template.jinja"]
    with contextlib.suppress(TrainError):
        check_model_files(files)


def test_frequencies_that_a_checkpoint_keeps_a_copy_of_are_left_out() -> None:
    """As checkpoints of 2023 do; everybody computes them from config.json."""
    import safetensors.torch

    weights = safetensors.torch.load(FILES["model.safetensors"])
    for layer in range(CONFIG["num_hidden_layers"]):
        weights[f"model.layers.{layer}.self_attn.rotary_emb.inv_freq"] = torch.ones(8)
    files = {**FILES, "model.safetensors": safetensors.torch.save(weights)}
    ours, plain = (load_base(each, torch.float32, threads=1).model for each in (files, FILES))
    ids = torch.tensor([[5, 6, 7]])
    assert torch.equal(ours(ids).logits, plain(ids).logits)
