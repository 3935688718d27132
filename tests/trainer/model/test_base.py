import json

import pytest
import safetensors.torch
import torch

from strongroom.trainer.errors import (
    ModelFileInvalid,
    ModelFileMissing,
    ModelMismatch,
    ModelUnsupported,
)
from strongroom.trainer.model.base import load_base
from support import tiny_model as tiny


def changed_config(files, **changes):
    settings = {**json.loads(files["config.json"]), **changes}
    return {**files, "config.json": json.dumps(settings).encode()}


def changed_weights(files, change):
    weights = safetensors.torch.load(files["model.safetensors"])
    change(weights)
    return {**files, "model.safetensors": safetensors.torch.save(weights)}


def load(files):
    return load_base(files, torch.float32, threads=1)


def test_the_model_is_what_transformers_loads_from_disk(tmp_path):
    import transformers

    files = tiny.tiny_files()
    for name, data in files.items():
        (tmp_path / name).write_bytes(data)
    expected = transformers.AutoModelForCausalLM.from_pretrained(tmp_path, dtype=torch.float32)
    base = load(files)
    ids = torch.tensor([[1, 9, 30, 77, 2, 5]])
    torch.testing.assert_close(base.model(ids).logits, expected(ids).logits, rtol=0, atol=0)
    chat = [{"role": "user", "content": "Grüße"}]
    tokenizer = transformers.AutoTokenizer.from_pretrained(tmp_path)
    assert base.tokenizer.apply_chat_template(
        chat, add_generation_prompt=True, tokenize=False
    ) == tokenizer.apply_chat_template(chat, add_generation_prompt=True, tokenize=False)
    assert base.end_tokens == tiny.END_TOKENS
    assert base.max_positions == 512


def test_buffers_other_than_bytes_and_several_weight_files_are_accepted():
    files = tiny.tiny_files()
    weights = sorted(safetensors.torch.load(files.pop("model.safetensors")).items())
    files["model-1.safetensors"] = safetensors.torch.save(dict(weights[:5]))
    files["model-2.safetensors"] = safetensors.torch.save(dict(weights[5:]))
    views = {name: memoryview(bytearray(data)) for name, data in files.items()}
    expected = load(tiny.tiny_files()).model.state_dict()
    for name, tensor in load(views).model.state_dict().items():
        assert torch.equal(tensor, expected[name]), name


def test_nothing_stays_trainable_or_unfilled():
    base = load(tiny.tiny_files())
    assert not any(p.requires_grad for p in base.model.parameters())
    assert not any(t.is_meta for t in (*base.model.parameters(), *base.model.buffers()))
    assert not base.model.training


@pytest.mark.parametrize(
    "name", ["config.json", "tokenizer.json", "tokenizer_config.json", "model.safetensors"]
)
def test_missing_file(name):
    files = tiny.tiny_files()
    del files[name]
    with pytest.raises(ModelFileMissing):
        load(files)


@pytest.mark.parametrize(
    "name", ["config.json", "tokenizer.json", "tokenizer_config.json", "model.safetensors"]
)
@pytest.mark.parametrize("data", [b"", b"[1]", b"\xff\x00garbage", b"{" * 50_000])
def test_broken_file(name, data):
    with pytest.raises(ModelFileInvalid) as caught:
        load({**tiny.tiny_files(), name: data})
    assert caught.value.place == name


def test_truncated_weights():
    files = tiny.tiny_files()
    files["model.safetensors"] = files["model.safetensors"][:-1]
    with pytest.raises(ModelFileInvalid):
        load(files)


def test_weights_that_do_not_fit():
    files = tiny.tiny_files()
    name = "model.layers.1.self_attn.q_proj.weight"
    with pytest.raises(ModelMismatch) as caught:
        load(changed_weights(files, lambda weights: weights.pop(name)))
    assert (caught.value.place, caught.value.actual) == (name, "nothing")
    with pytest.raises(ModelMismatch, match="no such weight"):
        load(changed_weights(files, lambda weights: weights.update(extra=torch.zeros(1))))
    with pytest.raises(ModelMismatch, match=r"\(64, 64\)"):
        load(changed_weights(files, lambda weights: weights.update({name: torch.zeros(3, 64)})))
    quantised = torch.zeros(64, 64, dtype=torch.int8)
    with pytest.raises(ModelUnsupported, match="floating-point"):
        load(changed_weights(files, lambda weights: weights.update({name: quantised})))


@pytest.mark.parametrize(
    "change",
    [
        {"model_type": "gpt2"},
        {"model_type": None},
        {"auto_map": {"AutoModelForCausalLM": "evil.Model"}},
        {"quantization_config": {"quant_method": "gptq"}},
        {"use_sliding_window": True},
    ],
)
def test_unsupported_models(change):
    with pytest.raises(ModelUnsupported):
        load(changed_config(tiny.tiny_files(), **change))


def test_settings_that_transformers_refuses():
    with pytest.raises(ModelFileInvalid) as caught:
        load(changed_config(tiny.tiny_files(), hidden_act="no-such-function"))
    assert caught.value.place == "config.json"


def test_model_without_chat_template():
    files = tiny.tiny_files()
    del files["chat_template.jinja"]
    with pytest.raises(ModelFileMissing, match="chat template"):
        load(files)


def test_special_token_that_the_tokenizer_does_not_know():
    files = tiny.tiny_files()
    files["tokenizer_config.json"] = json.dumps({"eos_token": "<nowhere>"}).encode()
    with pytest.raises(ModelMismatch, match="eos_token"):
        load(files)
