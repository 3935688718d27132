"""Alarms, endings and choices, from numbers alone."""

from functools import reduce

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from strongroom.trainer.config import EarlyStopping, TrainingConfig
from strongroom.trainer.monitoring import (
    ALMOST_ALL,
    WINDOW,
    Trend,
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


def alarms(steps):
    """What is wrong after the last of ``steps``."""
    return reduce(Trend.after, steps, Trend()).alarms()


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


def from_all_windows(steps):
    """The same verdict, each time from all steps."""

    def mean(end, name):
        return sum(values[name] for values in steps[end - WINDOW : end]) / WINDOW

    if len(steps) < WINDOW:
        return []
    ends = range(WINDOW, len(steps) + 1)
    now, first = mean(len(steps), "reward_mean"), mean(WINDOW, "reward_mean")
    best = max(mean(end, "reward_mean") for end in ends)
    enough = mean(WINDOW, "reward_std") / 2
    learned = now - first > enough >= best - now
    spread = max(mean(end, "reward_std") for end in ends)
    found = {
        "no_signal": mean(len(steps), "zero_variance_share") >= ALMOST_ALL and not learned,
        "reward_fell": best - now > spread > 0,
        "cut_off": mean(len(steps), "truncated_share") >= ALMOST_ALL,
    }
    return [alarm for alarm, raised in found.items() if raised]


TENTHS = st.integers(0, 10).map(lambda tenths: tenths / 10)


@given(st.lists(st.builds(step, TENTHS, TENTHS, TENTHS, TENTHS), max_size=50), st.booleans())
def test_one_step_after_another_comes_to_the_verdict_of_all_together(steps, extreme):
    if extreme:
        steps = [{**values, "zero_variance_share": 1.0} for values in steps]
    assert alarms(steps) == from_all_windows(steps)


class Counted(dict):
    """A step's numbers, which count how often they are looked at."""

    reads = 0

    def get(self, *arguments):
        Counted.reads += 1
        return super().get(*arguments)


def reads_for(count):
    Counted.reads = 0
    trend = Trend()
    for _ in range(count):
        trend = trend.after(Counted(step(same=1.0)))
        trend.alarms()
    return Counted.reads


def test_a_step_costs_the_same_however_many_there_were():
    """The work for twice as many steps is twice the work, but for the first window."""
    hundred, two_hundred = reads_for(WINDOW + 100), reads_for(WINDOW + 200)
    assert two_hundred - reads_for(WINDOW) == 2 * (hundred - reads_for(WINDOW))


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
