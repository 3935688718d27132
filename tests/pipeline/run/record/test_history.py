"""What a log tells of a run's training, and how it ends."""

from typing import Any

import pytest

from strongroom.audit.events import types as events
from strongroom.pipeline.run.record.history import History
from strongroom.trainer.config import TrainingConfig
from strongroom.trainer.monitoring import WINDOW

DIGEST = "sha256:" + "a" * 64


def config(**changes: Any) -> TrainingConfig:
    given: dict[str, Any] = {
        "steps": 6,
        "prompts_per_step": 2,
        "samples_per_prompt": 2,
        "learning_rate": 1e-3,
        "checkpoint_every": 2,
    }
    return TrainingConfig(**{**given, **changes})


def step(at: int, **values: float) -> events.TrainingStep:
    return events.TrainingStep(step=at, values={"seconds_learn": 1.0, **values})


def checkpoint(at: int) -> events.CheckpointWritten:
    return events.CheckpointWritten(
        step=at, uri="s3://b/c/", objects=(), adapter=DIGEST, manifest=DIGEST
    )


def score(at: int, value: float) -> events.EvaluationFinished:
    return events.EvaluationFinished(
        phase="during", step=at, records=9, values={"score_mean": value}
    )


def history(*log: events.EventData) -> History:
    return History.of(log)


def test_a_repeated_step_counts_once_as_a_step_and_twice_as_time():
    first, again = step(3, reward_mean=0.1), step(3, reward_mean=0.2)
    found = history(step(1), step(2), first, checkpoint(2), again)
    assert [step.values.get("reward_mean") for step in found.steps] == [None, None, 0.2]
    assert len(found.seconds) == 4


def test_the_last_step_ends_training_with_the_last_checkpoint():
    found = history(*map(checkpoint, (2, 4)))
    assert found.ending(config()) is None
    found.apply(checkpoint(6))
    assert found.ending(config()) == events.TrainingFinished(step=6, reason="steps", chosen=6)


def test_the_best_checkpoint_is_chosen_by_its_score():
    heard = [
        event
        for at, s in ((2, 0.4), (4, 0.7), (6, 0.6))
        for event in (checkpoint(at), score(at, s))
    ]
    best = config(score_checkpoints=True, publish="best")
    ending = history(*heard).ending(best)
    assert ending == events.TrainingFinished(step=6, reason="steps", chosen=4)
    found = history(*heard, ending)
    assert found.chosen == checkpoint(4)


@pytest.mark.parametrize("minutes", [0.05, None])
def test_a_replay_ends_where_the_run_did_and_not_when_time_is_up(minutes: float | None):
    budget = config(max_minutes=minutes)
    timely = history(step(1), step(2), checkpoint(2))
    ended = timely.ending(budget)
    assert ended == (events.TrainingFinished(step=2, reason="time", chosen=2) if minutes else None)
    original = events.TrainingFinished(step=4, reason="time", chosen=4)
    assert timely.ending(budget, original) is None
    timely.apply(checkpoint(4))
    assert timely.ending(budget, original) == original


def test_an_alarm_is_told_once():
    found = history(*(step(at, zero_variance_share=1.0) for at in range(1, WINDOW + 1)))
    [alarm] = found.new_alarms()
    assert alarm == events.TrainingAlarm(step=WINDOW, alarm="no_signal")
    found.apply(alarm)
    assert found.new_alarms() == []
    found.apply(step(WINDOW + 1, zero_variance_share=1.0))
    assert found.new_alarms() == []


def test_a_repeated_step_counts_once_in_an_alarm():
    """A run that was killed at step 9 and went on from step 8 has no window of ten steps yet."""
    found = history(*(step(at, truncated_share=1.0) for at in range(1, WINDOW)))
    found.apply(step(WINDOW - 1, truncated_share=1.0))
    assert found.new_alarms() == []
    found.apply(step(WINDOW, truncated_share=1.0))
    assert [alarm.alarm for alarm in found.new_alarms()] == ["cut_off"]


def test_an_alarm_looks_at_as_many_numbers_late_as_early():
    class Counted(dict):
        reads = 0

        def get(self, *arguments):
            Counted.reads += 1
            return super().get(*arguments)

    def reads(steps: int) -> int:
        Counted.reads, found = 0, history()
        for at in range(1, steps + 1):
            found.apply(events.TrainingStep(step=at, values=Counted(reward_mean=0.5)))
            found.new_alarms()
        return Counted.reads

    assert reads(WINDOW + 200) - reads(WINDOW) == 2 * (reads(WINDOW + 100) - reads(WINDOW))


def test_training_does_not_end_before_its_first_checkpoint():
    hopeless = history(step(1, seconds_rollout=600.0))
    assert hopeless.ending(config(max_minutes=1)) is None


def test_steps_are_numbered_and_a_repeated_one_counts_as_it_was_last() -> None:
    heard = history(step(1, loss=0.5), step(2, loss=0.4), step(3, loss=0.3), step(2, loss=0.2))
    assert heard.numbered_steps == [
        {"step": 1, "seconds_learn": 1.0, "loss": 0.5},
        {"step": 2, "seconds_learn": 1.0, "loss": 0.2},
    ]


def test_the_last_event_decides():
    denied = events.RunDenied(plan=DIGEST, policy=DIGEST, denials=())
    resumed = events.RunResumed(plan=DIGEST, step=2)
    failed = events.RunFailed(code="SR-PROC-001", stage="train", step=3)
    completed = events.RunCompleted(steps=6, seconds=1.0, adapter=DIGEST, manifest=DIGEST)
    found = History()
    for event, state in (
        (denied, "denied"),
        (resumed, "running"),
        (failed, "failed"),
        (resumed, "running"),
        (events.RunCancelled(step=3), "cancelled"),
        (resumed, "running"),
        (completed, "completed"),
    ):
        found.apply(event)
        assert (found.state, found.last, found.plan) == (state, event, DIGEST)
