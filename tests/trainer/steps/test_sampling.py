"""Which groups dynamic sampling replaces, and which of them a step then learns from."""

from dataclasses import dataclass

import pytest
from msgspec.structs import replace

from strongroom.trainer.engines import build_engine
from strongroom.trainer.losses import build_objective
from strongroom.trainer.methods import DapoMethod
from strongroom.trainer.rollouts.evaluators import Score
from strongroom.trainer.rollouts.rollout import Engine
from strongroom.trainer.steps.learning import Learner
from strongroom.trainer.steps.sampling import StepSampler
from strongroom.trainer.steps.state import new_state
from support import tiny_model as tiny


class Constant:
    def score(self, jobs):
        return [Score(score=0.0) for _ in jobs]


class Alternating:
    """Tells the completions of every group apart; with ``every`` those of each so many rows."""

    def __init__(self, every=1):
        self.every = every

    def score(self, jobs):
        return [
            Score(score=float(index % 2 and job.ground_truth % self.every == 0))
            for index, job in enumerate(jobs)
        ]


@dataclass
class FirstGroupCutOff:
    """An engine whose first group never comes to an end."""

    engine: Engine
    calls: int = 0

    def generate(self, prompts, samples, *rest):
        rollouts = self.engine.generate(prompts, samples, *rest)
        self.calls += 1
        if self.calls > 1:
            return rollouts
        finished = rollouts.finished_B.clone()
        finished[:samples], finished[samples:] = False, True
        return replace(rollouts, finished_B=finished)


def step(method, evaluator, engine=lambda engine: engine):
    """One step's groups, which of them are informative, and what is learned."""
    policy, config = tiny.tiny_policy(), tiny.tiny_config(method=method)
    objective = build_objective(config.method, config.sampling.longest)
    engine = engine(build_engine(config.engine, policy))
    state = new_state(policy, config)
    sampled = StepSampler(policy, tiny.tiny_rows(30), evaluator, engine, objective, config).sample(
        state
    )
    informative = sampled.informative_P(objective)
    return sampled, informative, Learner(policy, objective, config).learn(sampled, state)


@pytest.mark.parametrize("kl", [0.0, 0.05])
def test_what_was_filtered_is_not_trained_on(kl):
    """A penalty alone must not bring groups back that others were sampled for."""
    sampled, informative, values = step(DapoMethod(kl=kl, refills=20), Alternating(every=3))
    assert informative.sum() == values["groups_trained"] == 3
    assert len(sampled.indices) - 3 == values["groups_filtered"] > 0
    # The control: a step that is not refilled keeps them, and with a penalty trains on them.
    sampled, informative, values = step(DapoMethod(kl=kl, refills=0), Alternating(every=3))
    assert informative.sum() < len(sampled.indices) == 3
    assert values["groups_filtered"] == 0
    assert values["groups_trained"] == (3 if kl else informative.sum())


def test_being_punished_for_length_does_not_make_a_group_informative():
    method = DapoMethod(mask_truncated=False, overlong_buffer=7, refills=1)
    sampled, informative, values = step(method, Constant())
    assert sampled.differing_P.any()  # lengths differ, so the punishment gives advantages
    assert not informative.any()
    assert len(sampled.indices) == values["groups_filtered"] == 6
    assert values["groups_trained"] == 0
    # The control: told apart by the evaluator, the same groups stay.
    sampled, informative, values = step(method, Alternating())
    assert informative.all()
    assert len(sampled.indices) == values["groups_trained"] == 3


@pytest.mark.parametrize("masked", [True, False])
def test_a_group_that_was_cut_off_is_replaced_where_it_is_masked(masked):
    method = DapoMethod(mask_truncated=masked, refills=1)
    sampled, informative, values = step(method, Alternating(), FirstGroupCutOff)
    assert sampled.differing_P.all()
    assert informative.tolist() == ([False, True, True, True] if masked else [True] * 3)
    assert values["groups_trained"] == 3
    assert values["groups_filtered"] == (1 if masked else 0)
