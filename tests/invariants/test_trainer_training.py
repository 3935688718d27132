"""What must hold of whole runs: they learn, repeat, resume, and leave the base alone."""

import hashlib
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from trainer.checkpoint import Checkpoint
from trainer.config import GrpoMethod, Sampling
from trainer.loop import train
from trainer.losses.grpo import Grpo
from trainer.state import new_state

TINY = Path(__file__).parents[1] / "trainer"
sys.path.insert(0, str(TINY))
import tiny_model as tiny  # noqa: E402


def run(config, policy=None):
    policy = policy or tiny.tiny_policy(awake=False)
    steps, checkpoints = [], []
    train(
        policy,
        tiny.tiny_rows(),
        tiny.letter_evaluator(),
        config,
        new_state(policy, config),
        on_step=steps.append,
        on_checkpoint=checkpoints.append,
    )
    return policy, steps, checkpoints


def digest(checkpoint):
    return hashlib.sha256(checkpoint.adapter + checkpoint.state).hexdigest()


def weights_digest(model, names):
    state = model.state_dict()
    return hashlib.sha256(b"".join(state[name].numpy().tobytes() for name in names)).hexdigest()


@pytest.mark.parametrize("method", [GrpoMethod(), GrpoMethod(kl=0.05)])
def test_two_runs_give_the_same_bytes(method):
    first = run(tiny.tiny_config(method=method))[2]
    second = run(tiny.tiny_config(method=method))[2]
    assert [digest(checkpoint) for checkpoint in first] == [digest(c) for c in second]
    other = run(tiny.tiny_config(method=method, seed=4))[2]
    assert digest(other[-1]) != digest(first[-1])


RESUME = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
import tiny_model as tiny
from trainer.checkpoint import Checkpoint, resumed_state
from trainer.loop import train

folder = Path(sys.argv[2])
step = int(sys.argv[3])
config = tiny.tiny_config(steps=9)
# Another start and another global seed: all that counts is in the checkpoint.
policy = tiny.tiny_policy(seed=11)
parts = [(folder / name).read_bytes() for name in ("adapter", "state")]
state = resumed_state(policy, config, Checkpoint(step, *parts))
checkpoints = []
train(policy, tiny.tiny_rows(), tiny.letter_evaluator(), config, state,
      on_checkpoint=checkpoints.append)
(folder / "adapter").write_bytes(checkpoints[-1].adapter)
(folder / "state").write_bytes(checkpoints[-1].state)
"""


@pytest.mark.parametrize("step", [3, 6])
def test_resuming_in_a_fresh_process_equals_never_stopping(tmp_path, step):
    """9 steps of 3 prompts over 10 rows: the epoch ends within step 4."""
    checkpoints = {c.step: c for c in run(tiny.tiny_config(steps=9))[2]}
    (tmp_path / "adapter").write_bytes(checkpoints[step].adapter)
    (tmp_path / "state").write_bytes(checkpoints[step].state)
    subprocess.run([sys.executable, "-c", RESUME, TINY, tmp_path, str(step)], check=True)
    resumed = Checkpoint(9, (tmp_path / "adapter").read_bytes(), (tmp_path / "state").read_bytes())
    assert digest(resumed) == digest(checkpoints[9])
    assert digest(resumed) != digest(checkpoints[step])


def test_the_base_stays_and_is_there_again_with_the_adapter_off():
    policy = tiny.tiny_policy(awake=False)
    ids = torch.tensor([[1, 9, 30, 77, 2, 5]])
    names = [name for name in policy.base.model.state_dict() if ".lora_" not in name]
    before, logits = weights_digest(policy.base.model, names), policy.base.model(ids).logits
    run(tiny.tiny_config(), policy)
    assert weights_digest(policy.base.model, names) == before
    assert not torch.equal(policy.base.model(ids).logits, logits)
    with policy.reference():
        assert torch.equal(policy.base.model(ids).logits, logits)
    assert not torch.equal(policy.base.model(ids).logits, logits)


def test_on_policy_nothing_is_clipped_and_sampler_and_trainer_agree():
    for step in run(tiny.tiny_config())[1]:
        assert step.values["clip_share"] == 0.0
        assert step.values["sampler_gap_max"] < 1e-4
        assert step.values["ratio_mean"] == pytest.approx(1, abs=1e-4)


def reward_rise(seed):
    config = tiny.tiny_config(
        steps=40,
        samples_per_prompt=8,
        learning_rate=2e-2,
        checkpoint_every=40,
        seed=seed,
        sampling=Sampling(max_tokens=6),
    )
    rewards = [step.values["reward_mean"] for step in run(config)[1]]
    return sum(rewards[-5:]) / 5 - sum(rewards[:5]) / 5


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_the_reward_rises_and_falls_with_the_sign_of_the_advantages(seed, monkeypatch):
    assert reward_rise(seed) > 0.15
    upright = Grpo.advantages
    monkeypatch.setattr(Grpo, "advantages", lambda self, rewards: -upright(self, rewards))
    assert reward_rise(seed) < 0.02
