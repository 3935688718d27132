"""``strongroom verify`` against who holds the log's key: a forged log must agree with the buckets.

Each forgery is a new log, in every object right and signed by a key that the verifier trusts, over
the main job's own events and objects with one thing changed. The control is the log in which
nothing is.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from strongroom.audit.events import types as events
from strongroom.audit.events.entries import Event, new_event, to_entry
from strongroom.audit.log.copy import LogCopy
from strongroom.audit.log.note import LogKey
from strongroom.audit.log.sequencer import Sequencer
from strongroom.audit.log.store import DirectoryStore
from strongroom.audit.log.verify import COMPLETE, Check
from strongroom.crypto.digests import sha256
from strongroom.enclave.plan.document import Plan
from strongroom.pipeline.run.record.result import result_of

RUN = "main-job"
FOLDER = f"s3://acme-data/runs/{RUN}/"
LOG = "s3://acme-audit/strongroom/"
DIGEST = "sha256:" + "0" * 64
SEALED = ("adapter", "rollouts", "state")

STORY = "Audit log: the run's story"
MANIFESTS = "Checkpoint manifests and their signatures"
RESULT = ("Result follows from the log", f"{FOLDER}result.json")
CHOSEN = ("Chosen checkpoint follows from plan and log", f"{FOLDER}result.json")
KEYS = ("Output keyset is the released one", f"{FOLDER}keys.json")
MANIFEST_2 = (MANIFESTS, f"{FOLDER}checkpoints/000002/manifest.json")
MANIFEST_4 = (MANIFESTS, f"{FOLDER}checkpoints/000004/manifest.json")


class Forgery:
    """A run's objects, and what a log of it is going to say."""

    def __init__(self, copy: Any, said: list[Event], folder: Path) -> None:
        self.said = said
        self.objects = {uri: data for uri, data in copy.objects.items() if not uri.startswith(LOG)}
        self._copy = copy
        self._folder = folder

    def find(self, kind: type[Any], at: int = 0) -> Any:
        """What an event of a kind says."""
        return self.said[self.index(kind, at)].data

    def edit(self, kind: type[Any], at: int = 0, **fields: Any) -> None:
        """Let one event of a kind say something else."""
        index = self.index(kind, at)
        data = msgspec.structs.replace(self.said[index].data, **fields)
        self.said[index] = msgspec.structs.replace(self.said[index], data=data)

    def drop(self, *kinds: type[Any]) -> None:
        """Say nothing of these kinds."""
        self.said = [event for event in self.said if not isinstance(event.data, kinds)]

    def cancel(self, before: type[Any], at: int = 0) -> None:
        """Let the run be cancelled before an event."""
        self.said = self.said[: self.index(before, at)]
        self.said.append(new_event(RUN, "owner", events.RunCancelled(step=0)))

    def replan(self, **parts: Any) -> None:
        """Let another plan be the admitted one."""
        place = FOLDER + "plan.json"
        plan = msgspec.structs.replace(Plan.from_json(self.objects[place]), **parts)
        self.objects[place] = plan.to_json()
        self.edit(events.RunAdmitted, plan=plan.digest)
        self.edit(events.KeyReleased, plan=plan.digest)

    @property
    def plan(self) -> Plan:
        """The plan as it is."""
        return Plan.from_json(self.objects[FOLDER + "plan.json"])

    def conclude(self) -> None:
        """Write the result that follows from this log."""
        plan = self.objects[FOLDER + "plan.json"]
        self.objects[FOLDER + "result.json"] = result_of(RUN, sha256(plan), self.said)

    def keep(self, *names: str) -> None:
        """Of the run's folder, have these only."""
        kept = {FOLDER + name for name in names}
        self.objects = {
            uri: data
            for uri, data in self.objects.items()
            if uri in kept or not uri.startswith(FOLDER)
        }

    def checks(self) -> list[Check]:
        """What is checked of it, for who trusts the forger's key."""
        copy, vkey = self._signed()
        found: list[Check] = copy.checks(vkey)
        return found

    def red(self) -> set[str]:
        """The controls that fail in the report on it, for who trusts the forger's key."""
        copy, vkey = self._signed()
        report = copy.report(vkey)
        assert report.verified
        return {control.id for control in report.controls_failed}

    def _signed(self) -> tuple[Any, str]:
        """The copy with this log in place of the run's own, and the forger's key."""
        key = Ed25519PrivateKey.generate()
        named = LogKey("acme-audit/strongroom", key.public_key().public_bytes_raw())
        folder = self._folder / str(len(list(self._folder.glob("*"))))
        log = Sequencer(DirectoryStore(folder), LogCopy(), named, key.sign)
        log.append([to_entry(event) for event in self.said])
        stored = {
            LOG + path.relative_to(folder).as_posix(): path.read_bytes()
            for path in folder.rglob("*")
            if path.is_file()
        }
        return self._copy.holding({**self.objects, **stored}), log.key.vkey()

    def failures(self) -> set[tuple[str, str]]:
        """Names and objects of the checks that do not hold, other than the order of events.

        Most forgeries upset that, too; ``tests/audit/events/test_order.py`` is about it.
        """
        return {
            (check.name, check.object)
            for check in self.checks()
            if not check.ok and check.name != "Audit log: entries"
        }

    def index(self, kind: type[Any], at: int = 0) -> int:
        """Where an event of a kind stands."""
        return [i for i, event in enumerate(self.said) if isinstance(event.data, kind)][at]


@pytest.fixture(scope="module")
def told(auditor: Any, main_job: Any) -> list[Event]:
    """The run's own events."""
    found: list[Event] = auditor.events(RUN)
    return found


@pytest.fixture
def forgery(copy: Any, told: list[Event], tmp_path: Path) -> Forgery:
    return Forgery(copy, list(told), tmp_path / "log")


def test_a_log_that_says_what_happened_verifies(forgery: Forgery) -> None:
    assert forgery.failures() == set()


@pytest.mark.parametrize(
    "kind",
    [events.RunAdmitted, events.EnclaveStarted, events.KeyReleased, events.RunCompleted],
    ids=lambda kind: kind.__name__,
)
def test_a_part_of_the_story_is_missing(forgery: Forgery, kind: type[Any]) -> None:
    forgery.drop(kind)
    told = str(kind.__struct_config__.tag)  # type: ignore[attr-defined]
    name = COMPLETE if kind is events.RunCompleted else STORY
    assert (name, f"{told} of {RUN}") in forgery.failures()


def test_another_plan_was_admitted(forgery: Forgery) -> None:
    forgery.edit(events.RunAdmitted, plan=DIGEST)
    assert ("Plan is the admitted one", f"{FOLDER}plan.json") in forgery.failures()


@pytest.mark.parametrize("released", [False, True])
def test_an_earlier_plan_that_was_admitted_and_never_written(
    forgery: Forgery, released: bool
) -> None:
    """Of a run that was killed in between: no failure, unless keys were released for it."""
    other = msgspec.structs.replace(forgery.find(events.RunAdmitted), plan=DIGEST)
    forgery.said.insert(0, new_event(RUN, "controller", other))
    if released:
        forgery.edit(events.KeyReleased, plan=DIGEST)
    wrong = ("Plan is the admitted one", f"{FOLDER}plan.json")
    assert (wrong in forgery.failures()) is released


def test_checkpoints_of_another_plan(forgery: Forgery) -> None:
    code = forgery.plan.code
    forgery.replan(code=msgspec.structs.replace(code, python="3"))
    forgery.conclude()
    assert forgery.failures() == {MANIFEST_2, MANIFEST_4} | unlooked(2) | unlooked(4)


def test_a_plan_whose_fields_contradict_each_other(forgery: Forgery) -> None:
    """Admitted, and what keys were released for; the auditor need not believe it."""
    forgery.replan(capacity_bits=1)
    wanted = ("Plan's fields follow from each other", FOLDER + "plan.json")
    assert wanted in forgery.failures()


def test_a_log_that_names_another_policy_or_measurement_than_the_plan(forgery: Forgery) -> None:
    wanted = ("Log and plan say the same", FOLDER + "plan.json")
    forgery.edit(events.RunAdmitted, policy=DIGEST)
    assert forgery.failures() == {wanted}
    forgery.edit(events.RunAdmitted, policy=forgery.plan.policy.digest)
    assert forgery.failures() == set()
    forgery.edit(events.KeyReleased, measurement=DIGEST)
    assert forgery.failures() == {wanted}


def test_a_dataset_that_another_key_signed(forgery: Forgery, auditor: Any) -> None:
    plan = forgery.plan
    stranger = forgery.find(events.EnclaveStarted).signing_key
    train = msgspec.structs.replace(plan.data.train, signer=stranger)
    forgery.replan(data=msgspec.structs.replace(plan.data, train=train))
    wanted = ("Dataset manifests and their signatures", f"{train.uri}manifest.json")
    assert wanted in forgery.failures()


def test_another_manifest_of_the_same_signer(forgery: Forgery) -> None:
    """Its signature is right, and it is not the one that was planned."""
    plan = forgery.plan
    train = msgspec.structs.replace(plan.data.train, manifest_sha256=DIGEST)
    forgery.replan(data=msgspec.structs.replace(plan.data, train=train))
    wanted = ("Dataset manifests and their signatures", f"{train.uri}manifest.json")
    assert wanted in forgery.failures()


def test_another_keyset_was_released(forgery: Forgery) -> None:
    released = forgery.find(events.KeyReleased)
    other = tuple(msgspec.structs.replace(key, keyset=DIGEST) for key in released.keys)
    forgery.edit(events.KeyReleased, keys=other)
    assert forgery.failures() == {KEYS}


def test_no_keyset_was_released(forgery: Forgery) -> None:
    """Nor is there an enclave then whose signature counts."""
    forgery.drop(events.KeyReleased)
    story = {KEYS, (STORY, f"key.released of {RUN}")}
    assert forgery.failures() == story | {MANIFEST_2, MANIFEST_4} | unlooked(2) | unlooked(4)


def test_an_enclave_that_got_no_keys_signs_nothing(forgery: Forgery) -> None:
    forgery.edit(events.KeyReleased, evidence=DIGEST)
    assert forgery.failures() == {MANIFEST_2, MANIFEST_4} | unlooked(2) | unlooked(4)


@pytest.mark.parametrize("cancelled", [False, True])
def test_two_keysets_were_released(forgery: Forgery, cancelled: bool) -> None:
    released = forgery.find(events.KeyReleased)
    other = tuple(msgspec.structs.replace(key, keyset=DIGEST) for key in released.keys)
    again = msgspec.structs.replace(released, keys=other)
    if cancelled:
        forgery.cancel(events.TrainingFinished)
    forgery.said.append(new_event(RUN, "releaser", again))
    [check] = [check for check in forgery.checks() if check.name == KEYS[0]]
    assert (check.ok, check.object, check.detail) == (False, KEYS[1], "no single release")


def test_checkpoints_that_another_enclave_signed(forgery: Forgery) -> None:
    signer = forgery.plan.data.train.signer
    forgery.edit(events.EnclaveStarted, signing_key=signer)
    assert forgery.failures() == {MANIFEST_2, MANIFEST_4} | unlooked(2) | unlooked(4)


def test_a_checkpoint_with_another_manifest(forgery: Forgery) -> None:
    forgery.edit(events.CheckpointWritten, manifest=DIGEST)
    assert forgery.failures() == {MANIFEST_2} | unlooked(2)


def test_a_checkpoint_of_another_adapter(forgery: Forgery) -> None:
    forgery.edit(events.CheckpointWritten, adapter=DIGEST)
    assert forgery.failures() == {MANIFEST_2} | unlooked(2)


def test_a_checkpoint_with_another_object(forgery: Forgery) -> None:
    first, *rest = forgery.find(events.CheckpointWritten).objects
    changed = msgspec.structs.replace(first, sha256=DIGEST)
    forgery.edit(events.CheckpointWritten, objects=(changed, *rest))
    place = f"{FOLDER}checkpoints/000002/{first.name}"
    assert forgery.failures() == {("Checkpoint manifest agrees with the log", place)}


def test_an_earlier_checkpoint_in_the_place_of_the_last(forgery: Forgery) -> None:
    early = forgery.find(events.CheckpointWritten)
    forgery.edit(
        events.CheckpointWritten,
        1,
        objects=early.objects,
        adapter=early.adapter,
        manifest=early.manifest,
    )
    for uri, data in list(forgery.objects.items()):
        if "/000002/" in uri:
            forgery.objects[uri.replace("/000002/", "/000004/")] = data
    forgery.conclude()
    assert forgery.failures() == {MANIFEST_4} | unlooked(4)


def test_a_better_result(forgery: Forgery) -> None:
    better = {"score_mean": 1.0, "evaluator_accuracy": 1.0}
    forgery.edit(events.EvaluationFinished, -1, values=better)
    assert forgery.failures() == {RESULT}


def test_another_checkpoint_was_chosen(forgery: Forgery) -> None:
    """Than the plan's settings and the steps of the log lead to."""
    forgery.edit(events.TrainingFinished, chosen=2)
    forgery.conclude()
    assert forgery.failures() == {CHOSEN}


def test_no_checkpoint_was_chosen(forgery: Forgery) -> None:
    forgery.drop(events.TrainingFinished)
    forgery.conclude()
    assert forgery.failures() == {CHOSEN}


@pytest.mark.parametrize(
    ("before", "kept"),
    [
        (events.EnclaveStarted, ("plan.json",)),
        (events.KeyReleased, ("plan.json", "evaluator.py")),
        (events.EvaluationFinished, ("plan.json", "evaluator.py", "keys.json")),
    ],
    ids=["at the start", "before the keys", "before training"],
)
def test_what_a_cancelled_run_did_not_come_to_is_not_missed(
    forgery: Forgery, before: type[Any], kept: tuple[str, ...]
) -> None:
    forgery.cancel(before)
    forgery.keep(*kept)
    assert forgery.failures() == set()


def test_a_run_that_failed_is_intact_and_not_complete(forgery: Forgery) -> None:
    forgery.said = forgery.said[: forgery.index(events.EvaluationFinished)]
    failed = events.RunFailed(code="SR-EVAL-001", stage="train", step=0)
    forgery.said.append(new_event(RUN, "controller", failed))
    forgery.keep("plan.json", "evaluator.py", "keys.json")
    [bad] = [check for check in forgery.checks() if not check.ok]
    assert (bad.name, bad.detail) == (
        COMPLETE,
        "run.failed: SR-EVAL-001 in stage train, after step 0",
    )


def test_being_cancelled_excuses_nothing_that_came_before(forgery: Forgery) -> None:
    forgery.cancel(events.TrainingFinished)
    forgery.drop(events.KeyReleased)
    forgery.keep("plan.json", "result.json")
    found = forgery.failures()
    assert (STORY, f"key.released of {RUN}") in found
    assert {RESULT, CHOSEN, MANIFEST_2, MANIFEST_4} <= found
    assert ("Evaluator", f"{FOLDER}evaluator.py") in found


def test_a_run_that_was_cancelled_early_was_admitted(forgery: Forgery) -> None:
    forgery.cancel(events.KeyReleased)
    forgery.drop(events.RunAdmitted)
    forgery.keep("plan.json", "evaluator.py")
    assert (STORY, f"run.admitted of {RUN}") in forgery.failures()


def test_what_a_cancelled_run_was_about_to_log_is_let_lie(forgery: Forgery) -> None:
    """The keyset, and the next checkpoint; not the one after it."""
    forgery.cancel(events.KeyReleased)
    objects = [
        f"checkpoints/{step}/{name}.sealed" for step in ("000002", "000004") for name in SEALED
    ]
    forgery.keep("plan.json", "evaluator.py", "keys.json", *objects)
    assert forgery.failures() == unlooked(4)


def unlooked(step: int) -> set[tuple[str, str]]:
    """Nobody vouches for the objects of a checkpoint whose manifest is not accepted."""
    place = f"{FOLDER}checkpoints/{step:06d}/"
    return {("Nothing else in the run's folder", f"{place}{name}.sealed") for name in SEALED}


# ---- forgeries that agree with every object: what the report says of them -----------------------


def test_the_report_on_what_happened_has_no_red_row(forgery: Forgery) -> None:
    assert forgery.red() == set()


def _probes(forgery: Forgery, **values: str) -> dict[str, str]:
    return dict(forgery.find(events.EnclaveStarted).probes) | values


def _foreign(forgery: Forgery) -> tuple[events.ReleasedKey, ...]:
    first, *others = forgery.find(events.KeyReleased).keys
    return (msgspec.structs.replace(first, kms="vault://transit/thief"), *others)


FALSE: dict[str, tuple[set[str], Callable[[Forgery], None]]] = {
    "no rule passed and twenty were waived": (
        {"admission"},
        lambda f: f.edit(events.RunAdmitted, rules_passed=0, waivers=20),
    ),
    "assurance A0": (
        {"receivers", "isolation"},
        lambda f: f.edit(events.EnclaveStarted, assurance="A0"),
    ),
    "one probe": (
        {"isolation"},
        lambda f: f.edit(events.EnclaveStarted, probes={"write.tmp": "blocked"}),
    ),
    "no seccomp": (
        {"isolation"},
        lambda f: f.edit(events.EnclaveStarted, probes=_probes(f, seccomp="0")),
    ),
    "a foreign key service": ({"custody"}, lambda f: f.edit(events.KeyReleased, keys=_foreign(f))),
    "leases that may create in the datasets": (
        {"leases"},
        lambda f: f.edit(events.LeaseIssued, create=("datasets/",)),
    ),
    "another shard": ({"data"}, lambda f: f.edit(events.ShardOpened, sha256=DIGEST)),
}


@pytest.mark.parametrize("name", FALSE)
def test_a_forgery_that_agrees_with_every_object_turns_its_row_red(
    forgery: Forgery, name: str
) -> None:
    """Control: it verifies, as ``red`` asserts, so that only the row's own predicate tells."""
    rows, change = FALSE[name]
    change(forgery)
    assert forgery.red() == rows


def test_a_step_after_the_end_does_not_verify(forgery: Forgery) -> None:
    """It needs no report to be noticed: no releaser would have taken it in."""
    forgery.said.append(new_event(RUN, "enclave", forgery.find(events.TrainingStep)))
    (bad,) = (check for check in forgery.checks() if not check.ok)
    assert bad.name == "Audit log: entries"
    assert bad.object.endswith(f"entry {len(forgery.said) - 1}")
