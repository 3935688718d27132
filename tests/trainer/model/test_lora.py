import json

import peft
import pytest
import safetensors.torch
import torch

from strongroom.trainer.checkpoints.checkpoint import load_adapter, save
from strongroom.trainer.config import LoraConfig
from strongroom.trainer.errors import CheckpointInvalid, CheckpointMismatch, LoraTargetMissing
from strongroom.trainer.model.base import load_base
from strongroom.trainer.model.lora import attach_lora
from strongroom.trainer.steps.state import new_state
from support import tiny_model as tiny

IDS = torch.tensor([[1, 9, 30, 77, 2, 5]])


def test_plain_peft_loads_the_adapter_and_agrees(tmp_path):
    policy = tiny.tiny_policy()
    config = tiny.tiny_config()
    adapter = save(policy, new_state(policy, config), config).adapter
    (tmp_path / "adapter_model.safetensors").write_bytes(adapter)
    (tmp_path / "adapter_config.json").write_text(json.dumps(policy.lora.peft()))
    base = load_base(tiny.tiny_files(), torch.float32, threads=1).model
    expected = peft.PeftModel.from_pretrained(base, tmp_path)(IDS).logits
    torch.testing.assert_close(policy.base.model(IDS).logits, expected, rtol=1e-6, atol=1e-6)


def test_a_fresh_adapter_changes_nothing_and_an_awake_one_does():
    base = load_base(tiny.tiny_files(), torch.float32, threads=1).model(IDS).logits
    assert torch.equal(tiny.tiny_policy(awake=False).base.model(IDS).logits, base)
    assert not torch.allclose(tiny.tiny_policy().base.model(IDS).logits, base, atol=0.1)


def test_the_start_depends_on_the_seed_alone():
    def start(seed):
        torch.manual_seed(torch.seed())
        return tiny.tiny_policy(awake=False, seed=seed).flat

    assert torch.equal(start(1), start(1))
    assert not torch.equal(start(1), start(2))


def test_weights_and_gradients_are_views_of_the_flat_tensors():
    policy = tiny.tiny_policy()
    policy.base.model(IDS).logits.sum().backward()
    for name, weight in policy.named_weights().items():
        span = policy.spans()[name]
        assert weight.data_ptr() == policy.flat[span].data_ptr()
        assert torch.equal(weight.grad.flatten(), policy.flat_grad[span])
    assert policy.flat_grad.abs().sum() > 0
    assert sum(w.numel() for w in policy.named_weights().values()) == policy.flat.numel()


def test_unknown_target_is_named_with_those_that_exist():
    base = load_base(tiny.tiny_files(), torch.float32, threads=1)
    with pytest.raises(LoraTargetMissing, match="up_proj") as caught:
        attach_lora(base, LoraConfig(targets=("q_proj", "qproj")), 0)
    assert caught.value.place == "lora.targets qproj"


def test_load_adapter_takes_an_adapter_of_the_same_shape_only():
    trained, fresh = tiny.tiny_policy(), tiny.tiny_policy(awake=False)
    config = tiny.tiny_config()
    adapter = save(trained, new_state(trained, config), config).adapter
    load_adapter(fresh, adapter)
    assert torch.equal(fresh.flat, trained.flat)
    other = tiny.tiny_policy(lora=LoraConfig(rank=2, targets=("q_proj",)))
    with pytest.raises(CheckpointMismatch):
        load_adapter(trained, save(other, new_state(other, config), config).adapter)
    with pytest.raises(CheckpointInvalid):
        load_adapter(trained, adapter[:-1])


def test_adapter_names_are_pefts():
    policy = tiny.tiny_policy()
    config = tiny.tiny_config()
    names = safetensors.torch.load(save(policy, new_state(policy, config), config).adapter)
    assert "base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight" in names
    assert len(names) == 2 * 5 * 2
