"""Alarms, endings and choices, from numbers alone."""

import pytest
from pydantic import ValidationError

from strongroom.trainer.config import EarlyStopping, TrainingConfig
from strongroom.trainer.course import (
    WINDOW,
    alarms,
    best_step,
    reason_to_stop,
    seconds_left,
    step_seconds,
)


def config(**changes):
    given = {
        "steps": 40,
        "prompts_per_step": 4,
        "samples_per_prompt": 8,
        "learning_rate": 1e-3,
        "checkpoint_every": 10,
        "score_checkpoints": True,
    }
    return TrainingConfig(**{**given, **changes})


def step(reward=0.5, std=0.2, same=0.0, cut=0.0):
    return {
        "reward_mean": reward,
        "reward_std": std,
        "zero_variance_share": same,
        "truncated_share": cut,
    }


def test_a_healthy_course_has_no_alarm_at_any_step():
    rising = [step(reward=0.3 + 0.02 * at, same=min(0.8, 0.03 * at)) for at in range(30)]
    assert [alarms(rising[:end]) for end in range(len(rising) + 1)] == [[]] * 31


@pytest.mark.parametrize(
    ("bad", "alarm"),
    [
        (step(reward=0.0, std=0.0, same=1.0), "no_signal"),
        (step(reward=0.1), "reward_fell"),
        (step(cut=1.0), "cut_off"),
    ],
)
def test_each_alarm_is_raised_by_its_own_fault_and_only_after_a_window(bad, alarm):
    good = [step()] * WINDOW
    assert alarm not in alarms([*good, bad])
    assert alarm in alarms([*good, *[bad] * WINDOW])


def test_equal_scores_of_a_task_that_was_learned_are_no_alarm():
    """As the quickstart goes: 0.62 with a spread of 0.32 at first, 0.96 and all equal at last."""
    start, end = [step(reward=0.62, std=0.32)] * WINDOW, [step(reward=0.96, std=0, same=1)] * WINDOW
    assert alarms([*start, *end]) == []
    # The control: equal at a reward that is hardly better, or no longer good.
    assert alarms([*start, *[step(reward=0.7, std=0, same=1)] * WINDOW]) == ["no_signal"]
    fallen = [step(reward=0.79, std=0, same=1)] * WINDOW
    assert alarms([*start, *end, *fallen]) == ["no_signal"]


def test_a_short_run_has_no_alarm():
    assert alarms([step(same=1.0, cut=1.0)] * (WINDOW - 1)) == []


def test_a_reward_that_wavers_within_its_spread_is_no_fall():
    assert alarms([*[step(reward=0.6)] * WINDOW, *[step(reward=0.45)] * WINDOW]) == []


def test_without_any_difference_in_scores_a_fall_cannot_be_judged():
    flat = step(reward=0.9, std=0.0), step(reward=0.0, std=0.0)
    assert "reward_fell" not in alarms([*[flat[0]] * WINDOW, *[flat[1]] * WINDOW])


def test_the_best_is_the_highest_and_of_equals_the_earliest():
    assert best_step({10: 0.5, 20: 0.8, 30: 0.8, 40: 0.7}) == 20


@pytest.mark.parametrize(
    ("scores", "stops"),
    [
        ({}, False),
        ({10: 0.5}, False),
        ({10: 0.5, 20: 0.4}, False),
        ({10: 0.5, 20: 0.4, 30: 0.5}, True),
        ({10: 0.5, 20: 0.4, 30: 0.6}, False),
        ({10: 0.5, 20: 0.505, 30: 0.509}, True),
        ({10: 0.5, 20: 0.509, 30: 0.52}, False),
    ],
)
def test_early_stopping_waits_for_a_better_score(scores, stops):
    """Gains below ``min_gain`` count from the best so far, so that many small ones add up."""
    stopping = config(early_stopping=EarlyStopping(patience=2, min_gain=0.01))
    reason = reason_to_stop(stopping, 30, scores, [], alarmed=False)
    assert reason == ("early_stopping" if stops else None)
    assert reason_to_stop(config(), 30, scores, [], alarmed=False) is None


def test_a_run_ends_when_the_next_checkpoint_would_not_fit_its_time():
    budget = config(max_minutes=1)
    assert reason_to_stop(budget, 10, {}, [3.0] * 10, alarmed=False) is None  # 30 s and 30 s more
    assert reason_to_stop(budget, 10, {}, [3.1] * 10, alarmed=False) == "time"
    # What an interruption made necessary again was time, too.
    assert reason_to_stop(budget, 10, {}, [3.0] * 13, alarmed=False) == "time"
    # The last stretch is shorter than the others.
    assert reason_to_stop(budget, 38, {}, [1.5] * 38, alarmed=False) is None
    assert reason_to_stop(budget, 0, {}, [], alarmed=False) is None


def test_an_alarm_ends_a_run_only_when_asked_to():
    assert reason_to_stop(config(), 10, {}, [], alarmed=True) is None
    assert reason_to_stop(config(on_alarm="stop"), 10, {}, [], alarmed=True) == "alarm"
    assert reason_to_stop(config(on_alarm="stop"), 10, {}, [], alarmed=False) is None


def test_time_left_follows_the_last_steps():
    slow, fast = ({"seconds_rollout": s, "seconds_learn": 1.0} for s in (9.0, 1.0))
    assert step_seconds(slow) == 10.0
    assert seconds_left([], 40) is None
    assert seconds_left([slow] * 5, 40) == 350.0
    assert seconds_left([*[slow] * 20, *[fast] * WINDOW], 40) == 20.0


@pytest.mark.parametrize("change", [{"publish": "best"}, {"early_stopping": {"patience": 2}}])
def test_what_rests_on_scores_needs_them(change):
    with pytest.raises(ValidationError, match="score_checkpoints"):
        config(score_checkpoints=False, **change)
    config(**change)
