"""What must hold of whole runs: they learn, repeat, resume, and leave the base alone."""

import hashlib

import pytest
import torch

from strongroom.trainer.checkpoints.checkpoint import Checkpoint, resumed_state
from strongroom.trainer.config import Sampling
from strongroom.trainer.loop import train
from strongroom.trainer.losses.dapo import Dapo
from strongroom.trainer.losses.grpo import Grpo
from strongroom.trainer.methods import (
    CispoMethod,
    DapoMethod,
    DrGrpoMethod,
    GrpoMethod,
    GspoMethod,
    RlooMethod,
)
from strongroom.trainer.rollouts.evaluators import Score
from strongroom.trainer.steps.optimizer import AdamW
from strongroom.trainer.steps.state import new_state
from support import tiny_model as tiny
from support.forks import Forks


def run(config, policy=None, evaluator=None):
    policy = policy or tiny.tiny_policy(awake=False)
    steps, checkpoints = [], []
    train(
        policy,
        tiny.tiny_rows(),
        evaluator or tiny.letter_evaluator(),
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


METHODS = [
    GrpoMethod(),
    GrpoMethod(kl=0.05),
    DrGrpoMethod(),
    DapoMethod(),
    GspoMethod(),
    CispoMethod(),
    RlooMethod(),
]


@pytest.mark.parametrize("method", METHODS, ids=repr)
def test_two_runs_give_the_same_bytes(method):
    first = run(tiny.tiny_config(method=method))[2]
    second = run(tiny.tiny_config(method=method))[2]
    assert [digest(checkpoint) for checkpoint in first] == [digest(c) for c in second]
    other = run(tiny.tiny_config(method=method, seed=4))[2]
    assert digest(other[-1]) != digest(first[-1])


@pytest.fixture(scope="module")
def resuming():
    with Forks("support.programs.resumed_training") as forks:
        yield forks


RESUMED = {
    "as it comes": ({}, "letter_evaluator"),
    "two updates a step": ({"updates_per_step": 2}, "letter_evaluator"),
    "refills": ({"method": DapoMethod(refills=9), "updates_per_step": 2}, "Rare"),
    "passes and a penalty": (
        {"method": CispoMethod(kl=0.05), "groups_per_pass": 1, "sampler_correction": 2.0},
        "letter_evaluator",
    ),
}


@pytest.mark.parametrize("step", [3, 6])
@pytest.mark.parametrize(("settings", "evaluator"), RESUMED.values(), ids=RESUMED)
def test_resuming_in_a_fresh_process_equals_never_stopping(
    tmp_path, resuming, settings, evaluator, step
):
    """9 steps of 3 prompts over 10 rows: the epoch ends within step 4, with refills earlier."""
    config = tiny.tiny_config(steps=9, **settings)
    _, steps, made = run(config, evaluator=getattr(tiny, evaluator)())
    refilled = sum(values.values["groups_filtered"] for values in steps[:step])
    assert evaluator != "Rare" or refilled > 3, "nothing was refilled before the checkpoint"
    checkpoints = {checkpoint.step: checkpoint for checkpoint in made}
    (tmp_path / "adapter").write_bytes(checkpoints[step].adapter)
    (tmp_path / "state").write_bytes(checkpoints[step].state)
    assert resuming.run(str(tmp_path), step, config.model_dump_json(), evaluator) == 0
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
        assert step.values["clip_low_share"] == step.values["clip_high_share"] == 0.0
        assert step.values["sampler_gap_max"] < 1e-4
        assert step.values["ratio_min"] == step.values["ratio_max"] == 1.0


@pytest.mark.parametrize("method", METHODS, ids=repr)
def test_how_a_step_is_cut_into_passes_changes_rounding_only(method, monkeypatch):
    """Gradient accumulation changes memory and nothing else."""
    gradients = []
    update = AdamW.step

    def step(self, learning_rate):
        gradients.append(self._policy.flat_grad.clone())
        return update(self, learning_rate)

    monkeypatch.setattr(AdamW, "step", step)
    settings = {"method": method, "steps": 1, "prompts_per_step": 8, "checkpoint_every": 1}
    losses = [
        run(tiny.tiny_config(**settings, groups_per_pass=size))[1][0].values["loss"]
        for size in (None, 1, 2, 4, 8)
    ]
    for gradient, loss in zip(gradients[1:], losses[1:], strict=True):
        assert torch.dist(gradient, gradients[0]) <= 1e-5 * gradients[0].norm()
        assert loss == pytest.approx(losses[0], rel=1e-4, abs=1e-6)


@pytest.mark.parametrize("method", METHODS, ids=repr)
def test_more_updates_move_the_ratio_and_learn_more(method):
    once = run(tiny.tiny_config(method=method, steps=1, checkpoint_every=1))[1][0].values
    again = run(tiny.tiny_config(method=method, steps=1, checkpoint_every=1, updates_per_step=3))[
        1
    ][0].values
    assert once["ratio_min"] == once["ratio_max"] == 1.0
    assert again["ratio_min"] < 1.0 < again["ratio_max"]
    assert again["sampler_gap_mean"] == once["sampler_gap_mean"]


def rare_steps(**changes):
    config = tiny.tiny_config(**{"steps": 3, "checkpoint_every": 3, **changes})
    policy, steps, checkpoints, rollouts = tiny.tiny_policy(awake=False), [], [], []
    state = new_state(policy, config)
    train(
        policy,
        tiny.tiny_rows(30),
        tiny.Rare(),
        config,
        state,
        on_step=steps.append,
        on_checkpoint=checkpoints.append,
        on_rollouts=rollouts.append,
    )
    return [step.values for step in steps], checkpoints, rollouts, state


def test_dynamic_sampling_refills_groups_without_variance():
    steps, checkpoints, rollouts, state = rare_steps(method=DapoMethod(refills=20))
    for values, scored in zip(steps, rollouts, strict=True):
        assert values["groups_trained"] == 3
        assert len(scored) == 4 * (3 + values["groups_filtered"])
    assert sum(values["groups_filtered"] for values in steps) > 3
    assert state.rows_taken == sum(len(scored) for scored in rollouts) // 4
    # The control: without refills the same rows leave the steps short.
    short = rare_steps(method=DapoMethod(refills=0))[0]
    assert min(values["groups_trained"] for values in short) < 3
    # Resumed after any step, the same rows are dealt again: the cursor is in the checkpoint.
    policy = tiny.tiny_policy(seed=5)
    config = tiny.tiny_config(steps=3, checkpoint_every=3, method=DapoMethod(refills=20))
    resumed = resumed_state(policy, config, checkpoints[-1])
    assert resumed.rows_taken == state.rows_taken


def test_refills_end_when_nothing_varies():
    class Same:
        def score(self, jobs):
            return [Score(score=1.0) for _ in jobs]

    policy = tiny.tiny_policy(awake=False)
    config = tiny.tiny_config(steps=1, checkpoint_every=1, method=DapoMethod(refills=4))
    state, steps = new_state(policy, config), []
    train(policy, tiny.tiny_rows(30), Same(), config, state, on_step=steps.append)
    assert state.rows_taken == 3 * 5
    assert steps[0].values["groups_trained"] == 0.0
    assert steps[0].values["groups_filtered"] == 15.0


@pytest.mark.parametrize("mask", [True, False])
def test_truncated_completions_are_left_out_of_dapo_s_loss(mask, monkeypatch):
    seen = []
    loss = Dapo.loss

    def watched(self, tokens):
        seen.append(tokens)
        return loss(self, tokens)

    monkeypatch.setattr(Dapo, "loss", watched)
    settings = {"steps": 1, "checkpoint_every": 1, "sampling": Sampling(max_tokens=4)}
    method = DapoMethod(mask_truncated=mask, refills=0)
    values = run(tiny.tiny_config(**settings, method=method))[1][0].values
    cut_off = round(values["truncated_share"] * 12)
    assert 0 < cut_off < 12
    assert values["groups_trained"] == 3
    (tokens,) = seen
    assert len(tokens.lengths_C) == (12 - cut_off if mask else 12)
    assert tokens.n_tokens == int(tokens.lengths_C.sum())
    assert tokens.n_completions == 12


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
    monkeypatch.setattr(Grpo, "advantages", lambda self, *given: -upright(self, *given))
    assert reward_rise(seed) < 0.02
