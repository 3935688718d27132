"""What an enclave reports becomes events, in order, and is shown."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from strongroom.audit.events import types as events
from strongroom.enclave.channel import frames
from strongroom.enclave.channel.errors import RecordRejected, RecordsRejected
from strongroom.enclave.plan.document import Plan
from strongroom.pipeline.planning.plan import build_plan
from strongroom.pipeline.run.manifests import Manifests, SignedManifest
from strongroom.pipeline.run.record.history import History
from strongroom.pipeline.run.record.recorder import MAX_LISTED, Recorder
from strongroom.pipeline.runfile.load import LoadedRun
from strongroom.trainer.monitoring import WINDOW
from support import sample

DIGEST = "sha256:" + "a" * 64


class Log:
    """A journal and a watcher that note, in one list, what reaches them."""

    def __init__(self) -> None:
        self.noted: list[Any] = []

    def record(self, _actor: str, *data: events.EventData) -> None:
        self.noted += data

    note = record

    def stage(self, name: str) -> None:
        self.noted.append(("stage", name))

    def progress(self, *shown: Any) -> None:
        self.noted.append(("progress", *shown))

    def step(self, step: int, values: dict[str, float]) -> None:
        self.noted.append(("step", step, values))

    def alarm(self, text: str) -> None:
        self.noted.append(("alarm", text))


@pytest.fixture
def log() -> Any:
    return Log()


@pytest.fixture
def plan(load_example: Callable[..., LoadedRun], example: str) -> Plan:
    return build_plan(load_example(example).spec, sample.facts(), "r")


@pytest.fixture
def recorder(plan: Plan, log: Any) -> Recorder:
    facts = sample.facts()
    train, held_out = (SignedManifest(b"", each.manifest) for each in (facts.train, facts.held_out))
    return Recorder(plan, Manifests(train, held_out), log, log)


def test_a_step_is_shown_logged_and_part_of_the_history(recorder, log):
    recorder.report(frames.StepDone(step=1, values={"loss": 0.5}))
    event = events.TrainingStep(step=1, values={"loss": 0.5})
    assert log.noted == [("step", 1, {"loss": 0.5}), event]
    assert recorder.history.steps == [event]
    assert recorder.step == 1


def test_an_alarm_is_logged_by_the_controller_and_shown_with_advice(recorder, log):
    for at in range(1, WINDOW + 2):
        recorder.report(frames.StepDone(step=at, values={"truncated_share": 1.0}))
    alarm = events.TrainingAlarm(step=WINDOW, alarm="cut_off")
    assert log.noted.count(alarm) == 1
    [(_, text)] = [each for each in log.noted if isinstance(each, tuple) and each[0] == "alarm"]
    assert text.startswith(f"step {WINDOW}: almost every completion")
    assert "max_tokens" in text


@pytest.mark.parametrize(("stage", "shown"), [("evaluate", True), ("train", False)])
def test_scoring_between_steps_does_not_push_the_bar_back(recorder, log, stage, shown):
    recorder.enter(stage)
    recorder.report(frames.Progress(activity="evaluate", done=1, total=2))
    assert (("progress", "evaluate", 1, 2) in log.noted) is shown


def test_a_stage_begins_once(recorder, log):
    for _ in range(3):
        recorder.enter("verify")
    assert log.noted == [("stage", "verify")]


def test_a_bad_record_is_named_by_the_shard_it_lies_in(recorder, log, plan):
    recorder.report(frames.BadRecord(dataset="held_out", shard=0, line=3, fault="not_json"))
    name = sample.facts().held_out.manifest.name
    assert log.noted == [events.RecordRejected(dataset=name, shard=0, line=3, code="not_json")]
    listed, total = recorder.rejected(1).errors
    assert isinstance(listed, RecordRejected)
    assert listed.place == f"{plan.data.held_out.uri}shard-00000.sealed:3"
    assert isinstance(total, RecordsRejected)


def test_many_bad_records_are_counted_and_not_all_named(recorder):
    for line in range(1, MAX_LISTED + 10):
        recorder.report(frames.BadRecord(dataset="train", shard=0, line=line, fault="not_json"))
    *listed, total = recorder.rejected(recorder.bad_records).errors
    assert len(listed) == MAX_LISTED
    assert total.actual == str(MAX_LISTED + 9)


def test_a_checkpoint_is_logged_as_it_was_written(recorder, plan):
    sealed = {
        name: frames.SealedEntry(
            size_bytes=size, sha256=DIGEST, plaintext_sha256=f"{DIGEST[:-1]}{size}", header=""
        )
        for name, size in (("adapter", 1), ("state", 2), ("rollouts", 3))
    }
    recorder.checkpoint_written(frames.CheckpointWritten(step=20, manifest=DIGEST, **sealed))
    written = recorder.history.checkpoints[20]
    assert written.uri == f"{plan.outputs}r/checkpoints/000020/"
    assert written.adapter == sealed["adapter"].plaintext_sha256
    assert [(each.name, each.size_bytes) for each in written.objects] == [
        ("adapter.sealed", 1),
        ("state.sealed", 2),
        ("rollouts.sealed", 3),
    ]


@pytest.mark.parametrize(("phase", "step"), [("before", 0), ("during", 40), ("after", 20)])
def test_an_evaluation_is_of_the_checkpoint_that_its_phase_says(recorder, log, phase, step):
    history = History.of(
        [
            *(
                events.CheckpointWritten(
                    step=at, uri="s3://b/c/", objects=(), adapter=DIGEST, manifest=DIGEST
                )
                for at in (20, 40)
            ),
            events.TrainingFinished(step=40, reason="steps", chosen=20),
        ]
    )
    recorder.continue_from(history)
    recorder.evaluated(frames.Evaluated(phase=phase, rows=10, values={"score_mean": 0.5}))
    assert log.noted == [
        events.EvaluationFinished(phase=phase, step=step, records=10, values={"score_mean": 0.5})
    ]


@pytest.mark.parametrize(
    "answer",
    [
        frames.ShardVerified(
            dataset="train", shard=0, records=10, bad_records=0, plaintext_bytes=1000
        ),
        frames.EvaluatorFault(row=1, sample=0, code="SR-EVAL-003", detail="", line=3),
        frames.EvaluatorTested(rows=1, completions=1, failures=0, histogram=(1,), values={}),
        frames.Evaluated(phase="after", rows=10, values={"score_mean": 0.5}),
    ],
)
def test_an_answer_is_not_logged_before_it_is_checked(recorder, log, answer):
    recorder.report(answer)
    assert log.noted == []
