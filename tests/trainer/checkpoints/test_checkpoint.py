import json

import pytest
import safetensors.torch
import torch

from strongroom.trainer.checkpoints.checkpoint import Checkpoint, restore, resumed_state, save
from strongroom.trainer.config import LoraConfig
from strongroom.trainer.errors import CheckpointInvalid, CheckpointMismatch
from strongroom.trainer.loop import train
from strongroom.trainer.steps.state import new_state
from support import tiny_model as tiny


@pytest.fixture
def trained():
    policy, config = tiny.tiny_policy(awake=False), tiny.tiny_config()
    state = new_state(policy, config)
    train(policy, tiny.tiny_rows(), tiny.letter_evaluator(), config, state)
    return policy, state, config


def metadata(data):
    header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
    return json.loads(header["__metadata__"]["strongroom"])


def test_restore_puts_everything_back(trained):
    policy, state, config = trained
    checkpoint = save(policy, state, config)
    other = tiny.tiny_policy(seed=9)
    restored = resumed_state(other, config, checkpoint)
    assert restored.step == 6
    assert torch.equal(other.flat, policy.flat)
    assert torch.equal(restored.optimizer.exp_avg, state.optimizer.exp_avg)
    assert torch.equal(restored.optimizer.exp_avg_sq, state.optimizer.exp_avg_sq)
    assert restored.optimizer.updates == state.optimizer.updates == 6
    assert torch.equal(restored.generator.get_state(), state.generator.get_state())
    assert save(other, restored, config) == checkpoint


def test_bytes_say_what_they_are_and_nothing_about_time(trained):
    policy, state, config = trained
    checkpoint = save(policy, state, config)
    settings = metadata(checkpoint.state)
    assert settings["step"] == 6
    assert settings["cursor"] == {"rows": 18}
    assert settings["training"] == config.model_dump(mode="json")
    assert settings["versions"]["torch"] == torch.__version__
    assert metadata(checkpoint.adapter)["peft_type"] == "LORA"
    assert save(policy, state, config) == checkpoint
    assert b"second" not in checkpoint.state


def test_other_settings_are_refused_by_name(trained):
    policy, state, config = trained
    checkpoint = save(policy, state, config)
    with pytest.raises(CheckpointMismatch) as caught:
        resumed_state(policy, tiny.tiny_config(learning_rate=2e-2), checkpoint)
    assert caught.value.place == "checkpoint training"
    other = tiny.tiny_policy(lora=LoraConfig(rank=2, targets=("q_proj",)))
    with pytest.raises(CheckpointMismatch) as caught:
        resumed_state(other, config, checkpoint)
    assert caught.value.place == "checkpoint lora"


def without(data, name):
    tensors = safetensors.torch.load(data)
    del tensors[name]
    text = json.dumps(metadata(data))
    return bytes(safetensors.torch.save(tensors, metadata={"strongroom": text}))


@pytest.mark.parametrize(
    "damage",
    [
        lambda c: Checkpoint(c.step, c.adapter[:-1], c.state),
        lambda c: Checkpoint(c.step, c.adapter, c.state[:-1]),
        lambda c: Checkpoint(c.step, c.adapter, b""),
        lambda c: Checkpoint(c.step, c.adapter, c.adapter),
        lambda c: Checkpoint(c.step + 1, c.adapter, c.state),
        lambda c: Checkpoint(c.step, c.adapter, without(c.state, "rng")),
        lambda c: Checkpoint(
            c.step, c.adapter, without(c.state, sorted(safetensors.torch.load(c.state))[3])
        ),
        lambda c: Checkpoint(
            c.step, c.adapter, safetensors.torch.save(safetensors.torch.load(c.state))
        ),
    ],
)
def test_damaged_checkpoints_change_nothing(trained, damage):
    policy, state, config = trained
    checkpoint = damage(save(policy, state, config))
    other = tiny.tiny_policy(seed=9)
    fresh = new_state(other, config)
    before = save(other, fresh, config)
    with pytest.raises((CheckpointInvalid, CheckpointMismatch)):
        restore(other, fresh, checkpoint, config)
    assert save(other, fresh, config) == before
