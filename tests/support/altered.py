"""Ways to change one thing in a story that was true, and the control that has to notice.

Each works on the events of ``invented.run_events``: other values, an event less or more, at another
place or time, by another role.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import msgspec

from strongroom.audit.events import types
from strongroom.audit.events.entries import Event, new_event
from support import invented
from support.invented import RUN, digest

Story = list[Event]
Change = Callable[[Story], Story]


def at(story: Sequence[Event], kind: type, nth: int = 0) -> int:
    """Where the nth event of a type stands."""
    return [i for i, event in enumerate(story) if isinstance(event.data, kind)][nth]


def changed(kind: type, nth: int = 0, **fields: object) -> Change:
    """Other values in the nth event of a type."""

    def change(story: Story) -> Story:
        where = at(story, kind, nth)
        data = msgspec.structs.replace(story[where].data, **fields)
        story[where] = msgspec.structs.replace(story[where], data=data)
        return story

    return change


def reworked(kind: type, rework: Callable[[object], types.EventData], nth: int = 0) -> Change:
    """The nth event of a type, made anew from what it said."""

    def change(story: Story) -> Story:
        where = at(story, kind, nth)
        story[where] = msgspec.structs.replace(story[where], data=rework(story[where].data))
        return story

    return change


def everywhere(*changes: Change) -> Change:
    def change(story: Story) -> Story:
        for each in changes:
            story = each(story)
        return story

    return change


def without(kind: type, nth: int = 0) -> Change:
    def change(story: Story) -> Story:
        del story[at(story, kind, nth)]
        return story

    return change


def moved(kind: type, before: type, nth: int = 0) -> Change:
    """The nth event of a type, put before the first of another type, with a time that fits."""

    def change(story: Story) -> Story:
        event = story.pop(at(story, kind, nth))
        where = at(story, before)
        story.insert(where, msgspec.structs.replace(event, time=story[where].time))
        return story

    return change


def added(actor: str, data: types.EventData, after: type = types.RunCompleted) -> Change:
    """A further event behind the last of a type."""

    def change(story: Story) -> Story:
        where = at(story, after, -1)
        event, at_once = invented.said(RUN, actor, data), story[where].time
        story.insert(where + 1, msgspec.structs.replace(event, time=at_once))
        return story

    return change


def stamped(kind: type, time: str, nth: int = 0) -> Change:
    def change(story: Story) -> Story:
        where = at(story, kind, nth)
        story[where] = msgspec.structs.replace(story[where], time=time)
        return story

    return change


def said_by(kind: type, actor: str) -> Change:
    def change(story: Story) -> Story:
        where = at(story, kind)
        story[where] = msgspec.structs.replace(story[where], actor=actor)
        return story

    return change


def again(kind: type) -> Change:
    """An exact duplicate."""

    def change(story: Story) -> Story:
        where = at(story, kind)
        story.insert(where + 1, story[where])
        return story

    return change


def keys(nth: int, **fields: object) -> Change:
    """Other values in one released key."""

    def rework(data: types.KeyReleased) -> types.KeyReleased:
        found = list(data.keys)
        found[nth] = msgspec.structs.replace(found[nth], **fields)
        return msgspec.structs.replace(data, keys=tuple(found))

    return reworked(types.KeyReleased, rework)


def dataset(**fields: object) -> Change:
    def rework(data: types.RunAdmitted) -> types.RunAdmitted:
        first, *others = data.datasets
        return msgspec.structs.replace(
            data, datasets=(msgspec.structs.replace(first, **fields), *others)
        )

    return reworked(types.RunAdmitted, rework)


def probes(**values: str) -> Change:
    return changed(types.EnclaveStarted, probes=invented.PROBES | values)


def numbers(kind: type, **values: float) -> Change:
    return reworked(
        kind, lambda data: msgspec.structs.replace(data, values={**data.values, **values})
    )


def sealed_object(**fields: object) -> Change:
    def rework(data: types.CheckpointWritten) -> types.CheckpointWritten:
        first, *others = data.objects
        return msgspec.structs.replace(
            data, objects=(msgspec.structs.replace(first, **fields), *others)
        )

    return reworked(types.CheckpointWritten, rework)


EXPORT = types.AdapterExported(step=60, adapter=digest("plain60"), form="merged")
OPENED = types.RolloutsOpened(
    uri=invented.checkpoint(60) + "rollouts.sealed", sha256=digest("rollouts.sealed60")
)
RESUMED = types.RunResumed(plan=digest("plan"), step=60)
DENIED = types.RunDenied(plan=digest("plan"), policy=digest("policy"), denials=())
REJECTED = types.RecordRejected(dataset="train", shard=0, line=3, code="bad_json")
FAILED = types.RunFailed(code="SR-X-001", stage="train", step=1)
ENDLESS = "2099-01-01T00:00:00.000Z"


def replayed(outcome: str, plan: str = "plan", step: int = 60) -> Change:
    def change(story: Story) -> Story:
        data = types.RunReplayed(original=RUN, plan=digest(plan), step=step, outcome=outcome)
        return [*story, new_event("another-replay", "controller", data)]

    return change


def exposed(mean: float, largest: float) -> Change:
    """The trained model's exposure of planted secrets; the base model's is luck."""
    return everywhere(
        *(
            reworked(
                types.EvaluationFinished,
                lambda data, values=values: msgspec.structs.replace(
                    data, values={**data.values, **values}
                ),
                nth,
            )
            for nth, values in enumerate(
                (
                    {"exposure_mean": 1.4, "exposure_max": 3.0},
                    {"exposure_mean": mean, "exposure_max": largest},
                )
            )
        )
    )


START, RELEASE, LEASE = types.EnclaveStarted, types.KeyReleased, types.LeaseIssued
OTHER = digest("another")
CHANGES: dict[str, tuple[str, Change]] = {
    # The policy.
    "no rule passed, twenty were waived": (
        "admission",
        changed(types.RunAdmitted, rules_passed=0, waivers=20),
    ),
    "all rules were waived": ("admission", changed(types.RunAdmitted, rules_passed=0, waivers=12)),
    "a rule was left out": ("admission", changed(types.RunAdmitted, rules_passed=11)),
    "a waiver that the plan does not name": (
        "admission",
        changed(types.RunAdmitted, rules_passed=11, waivers=1),
    ),
    "another policy": ("admission", changed(types.RunAdmitted, policy=OTHER)),
    "another plan was admitted": ("admission", changed(types.RunAdmitted, plan=OTHER)),
    "no admission": ("admission", without(types.RunAdmitted)),
    "admitted when it had begun": ("admission", moved(types.RunAdmitted, types.TrainingStep)),
    "resumed with another plan": (
        "admission",
        added("controller", types.RunResumed(OTHER, 60), types.CheckpointWritten),
    ),
    "denied, and keys released all the same": (
        "admission",
        added("controller", DENIED, types.EnclaveStarted),
    ),
    # What was read.
    "another base model": ("inputs", changed(types.RunAdmitted, base_model=OTHER)),
    "another evaluator": ("inputs", changed(types.RunAdmitted, evaluator=OTHER)),
    "another dataset": ("inputs", dataset(manifest=OTHER)),
    "a dataset elsewhere": ("inputs", dataset(uri="s3://thief/train/")),
    "fewer records": ("inputs", dataset(records=3)),
    "outputs elsewhere": ("inputs", changed(types.RunAdmitted, outputs="s3://thief/")),
    # To whom keys went.
    "an enclave that is not in the log": ("receivers", changed(RELEASE, evidence=OTHER)),
    "an enclave that was never started": ("receivers", without(START)),
    "released before it started": ("receivers", moved(RELEASE, START)),
    "other code": (
        "receivers",
        everywhere(changed(START, measurement=OTHER), changed(RELEASE, measurement=OTHER)),
    ),
    "another measurement at the release": ("receivers", changed(RELEASE, measurement=OTHER)),
    "assurance A0": (
        "receivers",
        everywhere(changed(START, assurance="A0"), changed(RELEASE, assurance="A0")),
    ),
    "assurance A0 at the start alone": ("receivers", changed(START, assurance="A0")),
    "released for another plan": ("receivers", changed(RELEASE, plan=OTHER)),
    # Whose keys.
    "a foreign key service": ("custody", keys(0, kms="vault://transit/thief")),
    "a foreign key service for the outputs": ("custody", keys(2, kms="awskms://us-east-1/thief")),
    "another data key": ("custody", keys(1, commitment=OTHER)),
    "another wrapped keyset": ("custody", keys(0, keyset=OTHER)),
    "another key id": ("custody", keys(0, key_id=7)),
    "a key less": (
        "custody",
        reworked(RELEASE, lambda d: msgspec.structs.replace(d, keys=d.keys[:2])),
    ),
    "a key more": (
        "custody",
        reworked(
            RELEASE,
            lambda d: msgspec.structs.replace(
                d, keys=(*d.keys, msgspec.structs.replace(d.keys[0], name="more"))
            ),
        ),
    ),
    # Access.
    "may create in the datasets": ("leases", changed(LEASE, create=("datasets/",))),
    "may create in the datasets, by a writer": (
        "leases",
        changed(LEASE, 1, create=(f"runs/{RUN}/", "datasets/")),
    ),
    "may read the whole bucket": ("leases", changed(LEASE, read=("/",))),
    "may read more": ("leases", changed(LEASE, read=("datasets/",))),
    "for a day": ("leases", changed(LEASE, ttl_s=86_400)),
    "for a day, stated as a quarter of an hour": (
        "leases",
        changed(LEASE, expires_at="2026-03-15T09:00:00.000Z"),
    ),
    "expired long before": ("leases", changed(LEASE, expires_at="1971-01-01T00:00:00.000Z")),
    "issued long before": ("leases", stamped(LEASE, "1971-01-01T00:00:00.000Z")),
    "in another bucket": ("leases", changed(LEASE, bucket="thief")),
    "by another role": ("leases", changed(LEASE, role="arn:aws:iam::111122223333:role/admin")),
    "for an unplanned purpose": ("leases", changed(LEASE, purpose="anything")),
    # Walls.
    "one probe": ("isolation", changed(START, probes={"write.tmp": "blocked"})),
    "no probe": ("isolation", changed(START, probes={})),
    "no seccomp": ("isolation", probes(seccomp="0")),
    "an open socket": ("isolation", probes(**{"socket.inet": "open"})),
    "an unheard-of probe": ("isolation", probes(**{"anything": "blocked"})),
    "no walls at all": (
        "isolation",
        everywhere(changed(START, assurance="A0"), changed(RELEASE, assurance="A0")),
    ),
    "hardware that is not there": ("hardware", changed(START, assurance="A3")),
    # Data.
    "a shard was not opened": ("data", without(types.ShardOpened, 2)),
    "the held-out shard was not opened": ("data", without(types.ShardOpened, 4)),
    "another shard": ("data", changed(types.ShardOpened, sha256=OTHER)),
    "fewer records in a shard": ("data", changed(types.ShardOpened, records=99)),
    "other plaintext": ("data", changed(types.ShardOpened, plaintext_bytes=1)),
    "a shard of no dataset": ("data", changed(types.ShardOpened, dataset="other")),
    "a shard that is none": ("data", changed(types.ShardOpened, shard=9)),
    "opened when training had begun": (
        "data",
        everywhere(
            without(types.ShardOpened),
            added(
                "enclave",
                types.ShardOpened("train", 0, digest("train0"), 100, invented.SHARD_BYTES),
                types.TrainingStep,
            ),
        ),
    ),
    # What came out.
    "a checkpoint of no planned step": (
        "outputs",
        changed(types.CheckpointWritten, step=21),
    ),
    "a checkpoint elsewhere": ("outputs", changed(types.CheckpointWritten, uri="s3://thief/x/")),
    "a checkpoint left out": ("outputs", without(types.CheckpointWritten, 1)),
    "an object that is not sealed": ("outputs", sealed_object(name="adapter.safetensors")),
    "an object less": (
        "outputs",
        reworked(
            types.CheckpointWritten,
            lambda data: msgspec.structs.replace(data, objects=data.objects[1:]),
        ),
    ),
    "a checkpoint written twice, otherwise": (
        "outputs",
        added(
            "enclave",
            types.CheckpointWritten(20, invented.checkpoint(20), (), OTHER, OTHER),
            types.CheckpointWritten,
        ),
    ),
    "another adapter published": ("result", changed(types.RunPublished, adapter=OTHER)),
    "published elsewhere": ("result", changed(types.RunPublished, uri="s3://thief/x/")),
    "completed with another adapter": ("result", changed(types.RunCompleted, adapter=OTHER)),
    "completed after other steps": ("result", changed(types.RunCompleted, steps=59)),
    "another choice": ("result", changed(types.TrainingFinished, chosen=20)),
    "not published": ("result", without(types.RunPublished)),
    # Numbers.
    "a number of no declared name": ("channel", numbers(types.TrainingStep, smuggled=0.5)),
    "a score of no declared name": ("channel", numbers(types.EvaluationFinished, smuggled=0.5)),
    "more digits than may leave": (
        "channel",
        numbers(types.TrainingStep, reward_mean=0.123456789),
    ),
    "more evaluations than planned": (
        "channel",
        added("enclave", invented.held_out("after", 60, 0.9), types.EvaluationFinished),
    ),
    "a step beyond the plan": (
        "channel",
        added("enclave", types.TrainingStep(61, {"loss": 0.1}), types.TrainingStep),
    ),
    "scored on fewer records": ("evaluations", changed(types.EvaluationFinished, 1, records=3)),
    "no score before": ("evaluations", without(types.EvaluationFinished)),
    "no score after": ("evaluations", without(types.EvaluationFinished, 1)),
    "the declared metric left out": (
        "evaluations",
        changed(types.EvaluationFinished, 1, values={"score_mean": 0.9}),
    ),
    # The story.
    "an exact duplicate": ("order", again(types.TrainingStep)),
    "an event of 1971": ("order", stamped(types.TrainingStep, "1971-01-01T00:00:00.000Z", 7)),
    "an event of 2099": ("order", stamped(types.TrainingStep, ENDLESS, 7)),
    "an end in 2099": ("order", stamped(types.RunCompleted, ENDLESS)),
    "a step after the end": ("order", added("enclave", types.TrainingStep(60, {"loss": 0.1}))),
    "an export before there was anything": (
        "looks",
        everywhere(added("releaser", EXPORT), moved(types.AdapterExported, types.TrainingStep)),
    ),
    "keys before the enclave": ("order", moved(RELEASE, START)),
    "steps in another order": ("order", moved(types.TrainingStep, types.TrainingStep, 5)),
    "a second enclave without a resumption": (
        "order",
        added(
            "enclave",
            types.EnclaveStarted(
                OTHER, "A1", OTHER, "ed25519:" + "B" * 43 + "=", dict(invented.PROBES)
            ),
            types.EnclaveStarted,
        ),
    ),
    "resumed from a step that was not kept": (
        "order",
        added("controller", types.RunResumed(digest("plan"), 59), types.CheckpointWritten),
    ),
    "an alarm of another step": (
        "order",
        added("controller", types.TrainingAlarm(3, "cut_off"), types.TrainingStep),
    ),
    "failed at a step that never was": (
        "order",
        everywhere(
            without(types.RunCompleted),
            added("controller", types.RunFailed("SR-X-001", "train", 99), types.RunPublished),
        ),
    ),
    "a step left out": ("order", without(types.TrainingStep, 30)),
    "said by somebody else": ("order", said_by(RELEASE, "controller")),
    "resumed when it had completed": ("order", added("controller", RESUMED)),
    "failed when it had completed": ("order", added("controller", FAILED)),
    "of an impossible length": ("order", changed(types.RunCompleted, seconds=1e9)),
    "training never finished": ("order", without(types.TrainingFinished)),
    # Refusals.
    "a key for who was refused": (
        "refusals",
        changed(types.KeyDenied, evidence=digest("evidence")),
    ),
    "refused for another plan": ("refusals", changed(types.KeyDenied, subject=OTHER)),
    "refused for no reason": ("refusals", changed(types.KeyDenied, reasons=())),
    "trained on what was rejected": ("refusals", added("enclave", REJECTED, types.ShardOpened)),
    "went on after a failure": ("refusals", added("controller", FAILED, types.ShardOpened)),
    # Looks.
    "an export of another run's adapter": (
        "looks",
        added("releaser", msgspec.structs.replace(EXPORT, adapter=OTHER)),
    ),
    "rollouts of another run": (
        "looks",
        added("releaser", msgspec.structs.replace(OPENED, uri="s3://acme-data/runs/x/r.sealed")),
    ),
    "other rollouts": ("looks", added("releaser", msgspec.structs.replace(OPENED, sha256=OTHER))),
    # What the model remembers.
    "secrets that no plan planted": ("memory", exposed(1.5, 4.0)),
    # Repetitions.
    "it came out different": ("replay", replayed("different")),
    "another plan was repeated": ("replay", replayed("same", "other plan")),
    "repeated by nobody that could": (
        "replay",
        everywhere(replayed("same"), said_by(types.RunReplayed, "owner")),
    ),
    "repeated to another step": ("replay", replayed("same", step=40)),
}
"""What is changed: the control that has to fail, and how."""
