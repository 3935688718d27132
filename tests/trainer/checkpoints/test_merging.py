"""An adapter added to its base model's own files, against base and adapter apart."""

import pytest
import safetensors.torch
import torch

from strongroom.trainer.checkpoints.checkpoint import save
from strongroom.trainer.checkpoints.merging import AdapterMerge
from strongroom.trainer.config import LoraConfig
from strongroom.trainer.errors import CheckpointInvalid, CheckpointMismatch, ModelFileInvalid
from strongroom.trainer.model.base import load_base
from strongroom.trainer.model.lora import attach_lora
from strongroom.trainer.steps.state import new_state
from support import tiny_model as tiny

IDS = torch.tensor([[1, 9, 30, 77, 2, 5]])


@pytest.fixture
def merging():
    """A policy that was trained a little (so to say), its adapter, and its base model's files."""
    policy = tiny.tiny_policy()
    config = tiny.tiny_config()
    return policy, save(policy, new_state(policy, config), config).adapter, tiny.tiny_files()


def stored_as(files, dtype):
    """The files with all weights of another type."""
    weights = safetensors.torch.load(files["model.safetensors"])
    cast = {name: weight.to(dtype) for name, weight in weights.items()}
    return {**files, "model.safetensors": safetensors.torch.save(cast)}


def merged(files, adapter):
    """The model that the merged files make."""
    data = bytearray(files["model.safetensors"])
    merge = AdapterMerge(adapter)
    merge.add_to(data)
    merge.check_complete()
    return data


def logits(files, data, dtype):
    changed = {**files, "model.safetensors": bytes(data)}
    return load_base(changed, dtype, threads=1).model(IDS).logits


def test_in_float32_the_merged_model_is_base_and_adapter(merging):
    policy, adapter, files = merging
    found = logits(files, merged(files, adapter), torch.float32)
    torch.testing.assert_close(found, policy.base.model(IDS).logits, rtol=1e-5, atol=1e-5)
    before = load_base(files, torch.float32, threads=1).model(IDS).logits
    assert not torch.allclose(found, before, atol=0.1)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_each_merged_weight_is_the_sum_rounded_once(merging, dtype):
    policy, adapter, files = merging
    files = stored_as(files, dtype)
    before = safetensors.torch.load(files["model.safetensors"])
    after = safetensors.torch.load(bytes(merged(files, adapter)))
    weights = policy.named_weights()
    scaling = policy.lora.alpha / policy.lora.rank
    touched = set()
    for name, weight in after.items():
        layer = f"base_model.model.{name.removesuffix('.weight')}"
        if f"{layer}.lora_A.weight" not in weights:
            assert torch.equal(weight, before[name])
            continue
        touched.add(name)
        update = weights[f"{layer}.lora_B.weight"] @ weights[f"{layer}.lora_A.weight"]
        exact = before[name].double() + scaling * update.double()
        assert weight.dtype == dtype
        assert torch.equal(weight, (before[name].float() + scaling * update).to(dtype))
        assert (weight.double() - exact).abs().max() <= exact.abs().max() * torch.finfo(dtype).eps
    assert len(touched) == len(weights) / 2


def test_nothing_but_the_weights_changes_in_the_file(merging):
    _policy, adapter, files = merging
    data = merged(files, adapter)
    length = 8 + int.from_bytes(data[:8], "little")
    assert data[:length] == files["model.safetensors"][:length]
    assert len(data) == len(files["model.safetensors"])


def test_a_model_in_several_files_is_merged_file_by_file(merging):
    _policy, adapter, files = merging
    weights = safetensors.torch.load(files["model.safetensors"])
    names = sorted(weights)
    merge = AdapterMerge(adapter)
    found = {}
    for part in (names[::2], names[1::2]):
        data = bytearray(safetensors.torch.save({name: weights[name] for name in part}))
        merge.add_to(data)
        found |= safetensors.torch.load(bytes(data))
    merge.check_complete()
    whole = safetensors.torch.load(bytes(merged(files, adapter)))
    assert all(torch.equal(found[name], whole[name]) for name in whole)


def test_an_adapter_of_another_model_is_refused(merging):
    _policy, adapter, files = merging
    weights = safetensors.torch.load(files["model.safetensors"])
    name = "model.layers.0.self_attn.q_proj.weight"
    with pytest.raises(CheckpointMismatch, match="q_proj") as caught:
        AdapterMerge(adapter).add_to(
            bytearray(safetensors.torch.save({**weights, name: weights[name][:-1].contiguous()}))
        )
    assert caught.value.place == name
    del weights[name]
    merge = AdapterMerge(adapter)
    merge.add_to(bytearray(safetensors.torch.save(weights)))
    with pytest.raises(CheckpointMismatch) as caught:
        merge.check_complete()
    assert caught.value.place == name


@pytest.mark.parametrize("data", [b"", b"\xff" * 64, (2).to_bytes(8, "little") + b"[]"])
def test_what_is_no_safetensors_is_refused(merging, data):
    _policy, adapter, _files = merging
    with pytest.raises(ModelFileInvalid):
        AdapterMerge(adapter).add_to(bytearray(data))
    with pytest.raises(CheckpointInvalid):
        AdapterMerge(bytes(data))


def test_weights_of_whole_numbers_are_refused(merging):
    _policy, adapter, files = merging
    with pytest.raises(ModelFileInvalid):
        AdapterMerge(adapter).add_to(bytearray(stored_as(files, torch.int32)["model.safetensors"]))


def test_the_scale_is_that_of_the_adapter():
    config = tiny.tiny_config()
    lora = LoraConfig(rank=2, alpha=12, targets=("v_proj",))
    policy = attach_lora(load_base(tiny.tiny_files(), torch.float32, threads=1), lora, 0)
    policy.flat.fill_(0.1)
    adapter = save(policy, new_state(policy, config), config).adapter
    files = tiny.tiny_files()
    name = "model.layers.1.self_attn.v_proj.weight"
    before = safetensors.torch.load(files["model.safetensors"])[name]
    after = safetensors.torch.load(bytes(merged(files, adapter)))[name]
    torch.testing.assert_close(after - before, torch.full_like(before, 12 / 2 * 2 * 0.01))
