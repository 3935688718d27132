import math

import pytest
import torch

from strongroom.trainer.data.rows import SparseRows
from strongroom.trainer.errors import EvaluatorMisbehaved, RowsMissing
from strongroom.trainer.loop import train
from strongroom.trainer.methods import GrpoMethod, RlooMethod
from strongroom.trainer.metric_names import STEP_METRICS
from strongroom.trainer.rollouts.evaluators import Score
from strongroom.trainer.steps.schedule import needed_rows
from strongroom.trainer.steps.state import new_state
from support import tiny_model as tiny


class Constant:
    def score(self, jobs):
        return [Score(score=0.5) for _ in jobs]


class Broken:
    def __init__(self, scores):
        self.scores = scores

    def score(self, jobs):
        return self.scores(jobs)


def run(evaluator, rows=None, policy=None, **changes):
    heard = {"steps": [], "checkpoints": [], "rollouts": []}
    policy = policy or tiny.tiny_policy(awake=False)
    config = tiny.tiny_config(**changes)
    train(
        policy,
        tiny.tiny_rows() if rows is None else rows,
        evaluator,
        config,
        new_state(policy, config),
        on_step=heard["steps"].append,
        on_checkpoint=heard["checkpoints"].append,
        on_rollouts=heard["rollouts"].extend,
    )
    return policy, heard


def test_listeners_hear_of_everything():
    _, heard = run(tiny.letter_evaluator(), steps=5, checkpoint_every=2)
    assert [step.step for step in heard["steps"]] == [1, 2, 3, 4, 5]
    assert [checkpoint.step for checkpoint in heard["checkpoints"]] == [2, 4, 5]
    assert len(heard["rollouts"]) == 5 * 3 * 4
    rollout = heard["rollouts"][0]
    assert rollout.messages == tiny.tiny_rows()[rollout.row].chat()
    assert 0 <= rollout.score <= 1
    assert 1 <= rollout.tokens <= 8


def test_metrics_are_finite_and_declared():
    _, heard = run(tiny.letter_evaluator(), method=GrpoMethod(kl=0.1))
    for step in heard["steps"]:
        assert set(step.values) == set(STEP_METRICS) | {"evaluator_answered"}
        assert all(isinstance(v, float) and math.isfinite(v) for v in step.values.values())
        assert step.values["seconds_rollout"] > 0


def test_kl_is_zero_at_the_start_and_grows():
    _, heard = run(tiny.letter_evaluator(), method=GrpoMethod(kl=0.01))
    kl = [step.values["kl"] for step in heard["steps"]]
    assert kl[0] == pytest.approx(0, abs=1e-9)
    assert kl[-1] > 1e-4


@pytest.mark.parametrize("method", [GrpoMethod(), RlooMethod()], ids=repr)
def test_what_is_not_measured_is_not_reported(method):
    _, heard = run(tiny.letter_evaluator(), method=method)
    for step in heard["steps"]:
        assert set(step.values) == set(STEP_METRICS) - {"kl"} | {"evaluator_answered"}


def test_only_needed_rows_are_touched():
    config = tiny.tiny_config(steps=2, checkpoint_every=2)
    rows = tiny.tiny_rows(50)
    held = {index: rows[index] for index in needed_rows(config, 50)}
    assert len(held) == 6
    _, heard = run(tiny.letter_evaluator(), SparseRows(50, held), steps=2, checkpoint_every=2)
    assert len(heard["steps"]) == 2


class Once:
    """An evaluator that sees a difference in the first step only."""

    def __init__(self):
        self.calls = 0

    def score(self, jobs):
        self.calls += 1
        return [Score(score=float(self.calls == 1 and job % 2)) for job in range(len(jobs))]


@pytest.mark.parametrize("updates", [1, 2])
def test_a_step_without_a_gradient_moves_nothing(updates):
    """Also after a step that had one: momentum alone is no reason to move."""
    config = tiny.tiny_config(steps=4, warmup_steps=1, updates_per_step=updates)
    policy, evaluator = tiny.tiny_policy(awake=False), Once()
    state = new_state(policy, config)
    at_first = policy.flat.clone()
    train(policy, tiny.tiny_rows(), evaluator, config.model_copy(update={"steps": 1}), state)
    after_one = policy.flat.clone()
    assert torch.dist(after_one, at_first) > 1e-3
    moments = state.optimizer.exp_avg.clone(), state.optimizer.exp_avg_sq.clone()
    train(policy, tiny.tiny_rows(), evaluator, config, state)
    assert state.step == 4
    assert torch.equal(policy.flat, after_one)
    assert torch.equal(state.optimizer.exp_avg, moments[0])
    assert torch.equal(state.optimizer.exp_avg_sq, moments[1])
    assert state.optimizer.updates == updates


def test_nothing_to_learn_leaves_the_policy_alone():
    policy, heard = run(Constant())
    assert torch.equal(policy.flat, tiny.tiny_policy(awake=False).flat)
    assert heard["steps"][0].values["zero_variance_share"] == 1.0
    assert "grad_norm" not in heard["steps"][0].values


@pytest.mark.parametrize(
    "scores",
    [
        lambda jobs: [],
        lambda jobs: [Score(score=1.0)] * (len(jobs) + 1),
        lambda jobs: [Score(score=float("nan"))] * len(jobs),
        lambda jobs: [Score(score=1e308)] * len(jobs),
        lambda jobs: [Score(score=1.0, metrics={"accuracy": -1e10})] * len(jobs),
        lambda jobs: [Score(score=1.0, metrics={"x": float("inf")})] * len(jobs),
    ],
)
def test_an_evaluator_that_misbehaves_stops_the_step(scores):
    policy = tiny.tiny_policy()
    before = policy.flat.clone()
    with pytest.raises(EvaluatorMisbehaved):
        run(Broken(scores), policy=policy)
    assert torch.equal(policy.flat, before)


def test_no_rows():
    with pytest.raises(RowsMissing):
        run(Constant(), rows=[])
