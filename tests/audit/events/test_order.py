"""What may be said of a run, by whom and when: each rule, and the whole run that keeps them all."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import msgspec
import pytest

from strongroom.audit.events import types
from strongroom.audit.events.entries import NOBODY, RELEASER, new_event, to_entry
from strongroom.audit.events.errors import EventMalformed
from strongroom.audit.events.order import (
    ACTORS,
    EARLY,
    LATE,
    OF_ANY,
    OF_NO_RUN,
    RunOrder,
    check_history,
    check_time,
)
from strongroom.audit.log.errors import EventRefused

RUN = "feedback-1"
NOW = datetime(2026, 3, 14, 9, 26, 53, tzinfo=UTC)
OTHER = "sha256:" + "9" * 64


def changed(said, **fields):
    return msgspec.structs.replace(said, **fields)


def event(data, actor=None, run=None, caller=None):
    """As whoever may say it would."""
    role = actor or ACTORS[type(data)]
    of = ("" if isinstance(data, OF_NO_RUN) else RUN) if run is None else run
    said = new_event(of, role, data, at=NOW)
    known = RELEASER if ACTORS[type(data)] == "releaser" else "uid:1000"
    return changed(said, caller=known if caller is None else caller)


class Told:
    """The invented run, by what its events say."""

    def __init__(self, events):
        self.data = [each.data for each in events]

    def first(self, kind, **fields):
        return next(each for each in self.all(kind) if matches(each, fields))

    def all(self, kind):
        return [each for each in self.data if isinstance(each, kind)]

    def until(self, kind, **fields):
        """Everything up to the first such event, and with it."""
        return self.data[: self.data.index(self.first(kind, **fields)) + 1]


def matches(data, fields):
    return all(getattr(data, name) == value for name, value in fields.items())


@pytest.fixture
def told(run_events) -> Told:
    return Told(run_events)


def refused(before, data, **said) -> bool:
    try:
        RunOrder.of(before).check(event(data, **said))
    except EventRefused:
        return True
    return False


def test_the_whole_run_passes_event_by_event(run_events):
    order = RunOrder()
    for each in run_events:
        order.check(each)
        order.apply(each.data)
    assert order.completed
    assert list(check_history(to_entry(each) for each in run_events)) == []


SAYS_ONCE = (
    types.RunAdmitted,
    types.EnclaveStarted,
    types.KeyReleased,
    types.ShardOpened,
    types.EvaluationFinished,
    types.TrainingStep,
    types.CheckpointWritten,
    types.TrainingFinished,
    types.RunPublished,
    types.RunCompleted,
)


@pytest.mark.parametrize("kind", SAYS_ONCE)
def test_no_event_of_a_run_can_be_left_out_or_said_again_at_the_end(told, kind):
    """Without the last of each type a later one does not fit; nor does it fit once more."""
    last = told.all(kind)[-1]
    assert refused(told.data, last)
    if kind in (types.ShardOpened, types.EvaluationFinished, types.RunCompleted):
        return  # these bear nothing
    without = [each for each in told.data if each is not last]
    assert any(refused(without[:at], data) for at, data in enumerate(without))


@pytest.mark.parametrize("kind", [*types.TYPES.values()])
def test_each_type_is_said_by_its_role(told, kind):
    """A role that does not see it happen cannot say it, whatever the run has come to."""
    for role in {"controller", "broker", "enclave", "releaser", "owner"} - {ACTORS[kind]}:
        for before in ([], told.until(types.KeyReleased), told.data):
            data = some(told, kind)
            with pytest.raises(EventRefused, match=f"expected from the {ACTORS[kind]}"):
                RunOrder.of(before).check(event(data, actor=role))


@pytest.mark.parametrize("kind", [k for k, actor in ACTORS.items() if actor == "releaser"])
@pytest.mark.parametrize("caller", ["uid:0", "uid:1000", NOBODY])
def test_what_the_releaser_does_is_said_by_itself(told, kind, caller):
    before = told.until(types.EnclaveStarted)
    assert not refused(before, some(told, kind))
    assert refused(before, some(told, kind), caller=caller)


def some(told, kind):
    """Any event of a type; of those that the run has none of, one made up."""
    made_up = {
        types.RunDenied: types.RunDenied(plan=OTHER, policy=OTHER, denials=()),
        types.RunResumed: types.RunResumed(plan=OTHER, step=0),
        types.RecordRejected: types.RecordRejected(dataset="d", shard=0, line=1, code="x"),
        types.TrainingAlarm: types.TrainingAlarm(step=1, alarm="no_signal"),
        types.RolloutsOpened: types.RolloutsOpened(uri="s3://a/b", sha256=OTHER),
        types.AdapterExported: types.AdapterExported(step=1, adapter=OTHER, form="adapter"),
        types.EvaluatorTested: types.EvaluatorTested(
            plan=OTHER, evaluator=OTHER, rows=1, completions=1, failures=0, faults={}, values={}
        ),
        types.RunFailed: types.RunFailed(code="SR-RUN-001", stage="train", step=3),
        types.RunCancelled: types.RunCancelled(step=3),
        types.RunReplayed: types.RunReplayed(original=RUN, plan=OTHER, step=1, outcome="same"),
        types.ReleaserStarted: types.ReleaserStarted(
            settings=OTHER,
            policy=OTHER,
            measurements=(OTHER,),
            signers=(),
            min_assurance="A1",
            memory="kept",
        ),
        types.DatasetKeyReleased: types.DatasetKeyReleased(
            dataset="d",
            evidence=OTHER,
            measurement=OTHER,
            assurance="A1",
            key=told.first(types.KeyReleased).keys[0],
        ),
        types.ManifestSigned: types.ManifestSigned(
            dataset="d", payload=OTHER, signer="ed25519:" + "A" * 43 + "=", shards=1, records=1
        ),
    }
    found = told.all(kind)
    return found[0] if found else made_up[kind]


def test_what_belongs_to_a_run_names_it_and_the_rest_does_not(told):
    before = told.until(types.KeyReleased)
    for kind in types.TYPES.values():
        data = some(told, kind)
        if issubclass(kind, OF_NO_RUN):
            assert refused([], data, run=RUN)
            assert not refused([], data, run="")
        elif issubclass(kind, OF_ANY):
            assert not refused(before, data, run=RUN)
            assert not refused([], data, run="")
        else:
            with pytest.raises(EventRefused, match="a run's id"):
                RunOrder.of(before).check(event(data, run=""))


# Each row: how far the run is told, an event that fits there, and what of it makes it not fit.
FITS = {
    "a first admission": ((), types.RunAdmitted, {}),
    "an enclave of a run that goes on": ((types.RunAdmitted, {}), types.EnclaveStarted, {}),
    "keys for the evidence that was given": (
        (types.EnclaveStarted, {}),
        types.KeyReleased,
        {"evidence": OTHER},
    ),
    "keys for the plan that was admitted": (
        (types.EnclaveStarted, {}),
        types.KeyReleased,
        {"plan": OTHER},
    ),
    "a shard": ((types.KeyReleased, {}), types.ShardOpened, {}),
    "the first score": ((types.ShardOpened, {}), types.EvaluationFinished, {"step": 1}),
    "the first step": ((types.EvaluationFinished, {}), types.TrainingStep, {"step": 2}),
    "no step zero": ((types.EvaluationFinished, {}), types.TrainingStep, {"step": 0}),
    "a checkpoint of the last step": (
        (types.TrainingStep, {"step": 20}),
        types.CheckpointWritten,
        {"step": 19},
    ),
    "no checkpoint of a step to come": (
        (types.TrainingStep, {"step": 20}),
        types.CheckpointWritten,
        {"step": 21},
    ),
    "an end at the last checkpoint": (
        (types.CheckpointWritten, {"step": 60}),
        types.TrainingFinished,
        {"step": 40},
    ),
    "a checkpoint that there is": (
        (types.CheckpointWritten, {"step": 60}),
        types.TrainingFinished,
        {"chosen": 59},
    ),
    "a result that is the chosen one, by its adapter": (
        (types.TrainingFinished, {}),
        types.RunPublished,
        {"adapter": OTHER},
    ),
    "a result that is the chosen one, by its manifest": (
        (types.TrainingFinished, {}),
        types.RunPublished,
        {"manifest": OTHER},
    ),
    "an end with what was published, by its adapter": (
        (types.RunPublished, {}),
        types.RunCompleted,
        {"adapter": OTHER},
    ),
    "an end with what was published, by its manifest": (
        (types.RunPublished, {}),
        types.RunCompleted,
        {"manifest": OTHER},
    ),
    "an end after the steps that were done": (
        (types.RunPublished, {}),
        types.RunCompleted,
        {"steps": 59},
    ),
}


@pytest.mark.parametrize("rule", FITS)
def test_what_follows_and_what_does_not(told, rule):
    where, kind, wrong = FITS[rule]
    before = told.until(where[0], **where[1]) if where else []
    good = next(each for each in told.data[len(before) :] if isinstance(each, kind))
    assert not refused(before, good)
    if wrong:
        assert refused(before, changed(good, **wrong))


LATER = {
    "a step after training ended": (types.TrainingFinished, types.TrainingStep, {"step": 61}),
    "a checkpoint after training ended": (
        types.TrainingFinished,
        types.CheckpointWritten,
        {"step": 60},
    ),
    "another end": (types.TrainingFinished, types.TrainingFinished, {}),
    "another end for another reason": (
        types.TrainingFinished,
        types.TrainingFinished,
        {"reason": "alarm"},
    ),
    "another result": (types.RunPublished, types.RunPublished, {}),
    "a step after completion": (types.RunCompleted, types.TrainingStep, {"step": 61}),
    "an enclave after completion": (types.RunCompleted, types.EnclaveStarted, {}),
    "keys after completion": (types.RunCompleted, types.KeyReleased, {}),
    "another completion": (types.RunCompleted, types.RunCompleted, {}),
    "an admission after the enclave": (types.EnclaveStarted, types.RunAdmitted, {"plan": OTHER}),
}


@pytest.mark.parametrize("what", LATER)
def test_what_comes_too_late(told, what):
    when, kind, fields = LATER[what]
    assert refused(told.until(when), changed(told.first(kind), **fields))


@pytest.mark.parametrize(
    "data",
    [
        types.RunFailed(code="SR-RUN-001", stage="train", step=3),
        types.RunCancelled(step=3),
        types.RunDenied(plan=OTHER, policy=OTHER, denials=()),
        types.RunResumed(plan=OTHER, step=60),
    ],
    ids=lambda data: type(data).__name__,
)
def test_a_completed_run_neither_fails_nor_goes_on(told, data):
    assert refused(told.data, data)


def test_nothing_happens_in_an_enclave_without_keys(told):
    """Neither before they are released, nor in another one, nor after the run has stopped."""
    inside = [
        told.first(types.ShardOpened),
        told.first(types.EvaluationFinished),
        told.first(types.TrainingStep),
        some(told, types.RecordRejected),
        some(told, types.TrainingAlarm),
        some(told, types.EvaluatorTested),
    ]
    released = told.until(types.KeyReleased)
    stopped = types.RunFailed(code="SR-RUN-001", stage="train", step=0)
    resumed = types.RunResumed(plan=told.first(types.RunAdmitted).plan, step=0)
    for data in inside:
        if not isinstance(data, types.TrainingAlarm):
            assert not refused(released, data)
        for before in (
            [],
            told.until(types.EnclaveStarted),
            [*released, told.first(types.EnclaveStarted)],
            [*released, stopped],
            [*released, stopped, resumed],
        ):
            assert refused(before, data)


def test_a_shard_is_opened_once_by_each_enclave(told):
    before, again = told.until(types.ShardOpened), told.first(types.ShardOpened)
    assert refused(before, again)
    new = [told.first(types.EnclaveStarted), told.first(types.KeyReleased)]
    assert not refused([*before, *new], again)


def test_a_step_is_written_once_and_gone_on_from(told):
    """A run that is resumed does the steps after its last checkpoint again, and no others."""
    plan = told.first(types.RunAdmitted).plan
    before = told.until(types.TrainingStep, step=47)
    for step, fits in ((40, True), (20, False), (47, False), (0, False), (60, False)):
        assert refused(before, types.RunResumed(plan=plan, step=step)) is not fits
    assert refused(before, types.RunResumed(plan=OTHER, step=40))
    resumed = types.RunResumed(plan=plan, step=40)
    new = [told.first(types.EnclaveStarted), told.first(types.KeyReleased)]
    after = [*before, resumed, *new]
    assert not refused(after, told.first(types.TrainingStep, step=41))
    assert refused(after, told.first(types.TrainingStep, step=48))
    written = told.first(types.CheckpointWritten, step=40)
    assert refused(after, changed(written, adapter=OTHER)), "that step has its checkpoint"


def test_an_evaluation_is_said_when_it_is_due_and_once(told):
    def scored(phase, step):
        return changed(told.first(types.EvaluationFinished), phase=phase, step=step)

    begun = told.until(types.KeyReleased)
    assert refused(begun, scored("during", 0)), "there is no checkpoint"
    assert refused(begun, scored("after", 0)), "training has not ended"
    assert refused(told.until(types.EvaluationFinished), scored("before", 0)), "once"
    assert refused(told.until(types.TrainingStep), scored("before", 0)), "training has begun"
    written = told.until(types.CheckpointWritten, step=40)
    assert not refused(written, scored("during", 40))
    assert refused(written, scored("during", 20)), "that is gone by"
    assert refused([*written, scored("during", 40)], scored("during", 40)), "once"
    ended = told.until(types.TrainingFinished)
    assert not refused(ended, scored("after", 60))
    assert refused(ended, scored("after", 40)), "another one was chosen"


def test_an_alarm_is_of_the_step_just_done(told):
    before = told.until(types.TrainingStep, step=5)
    assert not refused(before, types.TrainingAlarm(step=5, alarm="no_signal"))
    assert refused(before, types.TrainingAlarm(step=4, alarm="no_signal"))


def test_looking_at_what_a_run_left_needs_a_run(told):
    for kind in (types.RolloutsOpened, types.AdapterExported):
        assert refused([], some(told, kind))
        assert not refused(told.until(types.RunAdmitted), some(told, kind))
        assert not refused([*told.data, some(told, kind)], some(told, kind)), "as often as it is"


def test_a_replay_tells_how_it_came_out_once_it_ended(told):
    plan = told.first(types.RunAdmitted).plan
    replay = [
        types.RunResumed(plan=plan, step=0),
        *told.data[told.data.index(told.first(types.EnclaveStarted)) :],
    ]
    order = RunOrder()
    for data in replay:
        order.check(event(data))
        order.apply(data)
    outcome = types.RunReplayed(original="another-1", plan=plan, step=60, outcome="same")
    assert not refused(replay, outcome)
    assert refused(replay[:-1], outcome), "it goes on"
    assert refused([*replay, outcome], outcome), "once"
    assert refused(replay, changed(outcome, plan=OTHER))
    failed = types.RunFailed(code="SR-RUN-001", stage="train", step=20)
    assert not refused([*replay[:-1], failed], changed(outcome, outcome="different"))


@pytest.mark.parametrize(
    ("at", "taken"),
    [
        (NOW, True),
        (NOW - LATE, True),
        (NOW + EARLY, True),
        (NOW - LATE - timedelta(milliseconds=1), False),
        (NOW + EARLY + timedelta(milliseconds=1), False),
        (datetime(1971, 1, 1, tzinfo=UTC), False),
        (datetime(2099, 1, 1, tzinfo=UTC), False),
    ],
)
def test_an_event_tells_of_now(at, taken):
    said = new_event(RUN, "owner", types.RunCancelled(step=1), at=at)
    if taken:
        check_time(said, NOW)
        return
    with pytest.raises(EventRefused, match="a time within 60 minutes before now"):
        check_time(said, NOW)


# ---- a whole log, held to the same rules ---------------------------------------------------------


def places(events) -> list[int]:
    entries = [each if isinstance(each, bytes) else to_entry(each) for each in events]
    return [place for place, _ in check_history(entries)]


def test_a_finished_log_is_held_to_the_order(run_events):
    """Whoever holds the log's key needs no releaser: what it would have refused is named."""
    at = next(i for i, each in enumerate(run_events) if isinstance(each.data, types.TrainingStep))
    late = changed(run_events[at], id="f" * 32, time=run_events[-1].time)
    assert places([*run_events, late]) == [len(run_events)]
    swapped = [*run_events]
    swapped[at], swapped[at + 1] = swapped[at + 1], swapped[at]
    assert at in places(swapped)
    exported = types.AdapterExported(step=60, adapter=OTHER, form="merged")
    said = changed(run_events[-1], id="e" * 32, actor="releaser", data=exported)
    assert places([*run_events, changed(said, caller=RELEASER)]) == []
    assert places([*run_events, said]) == [len(run_events)], "it is not the releaser's word"


def test_an_entry_that_is_there_already_is_named(run_events):
    lease = next(each for each in run_events if isinstance(each.data, types.LeaseIssued))
    assert places([*run_events, lease]) == [len(run_events)]


def test_runs_are_told_beside_each_other(run_events):
    others = [changed(each, run="another-1", id=each.id[::-1]) for each in run_events]
    mixed = [each for pair in zip(run_events, others, strict=True) for each in pair]
    assert places(mixed) == []
    assert places([changed(run_events[1], run="another-2"), others[5]]) == [1]


@pytest.mark.parametrize("year", [1971, 2099])
def test_a_time_that_does_not_follow_is_named(run_events, year):
    lease = next(each for each in run_events if isinstance(each.data, types.LeaseIssued))
    moment = datetime(year, 1, 1, tzinfo=UTC).isoformat(timespec="milliseconds")
    odd = changed(lease, id="d" * 32, time=moment.replace("+00:00", "Z"))
    assert places([*run_events, odd]) == [len(run_events)]


def test_an_entry_that_is_no_event_is_named(run_events):
    found = list(check_history([*map(to_entry, run_events), b"{}"]))
    assert [(place, type(error)) for place, error in found] == [(len(run_events), EventMalformed)]
