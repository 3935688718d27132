"""The rules by which a run verifies, and nothing else: no object is read here.

What was read goes in (bytes, a digest, or the error that there was instead), one check for each
object comes out. Trusted is one thing, the log's public key. Each step rests on those before it,
and only what they have proved is asked for next; a check that fails stops no other.

1. The log holds (``audit.log.reader``), and each entry is an event.
2. The run was admitted, its enclave started and keys were released to it.
3. The plan has the digest of an admission, and keys were released for no other.
4. Each dataset's manifest has the digest in the plan, and the signature of the signer there; each
   shard has the digest in the manifest. A sealed evaluator is held to the same.
5. The evaluator's source, the base model's list and each of its files have the plan's digests.
6. The output keyset has the one digest that the releases in the log give.
7. Each checkpoint of the log has a manifest with the digest there, about this run, step, plan and
   adapter, signed by an enclave that keys were released to; manifest and log name the same digests
   of its objects, and the objects have them.
8. The result is, byte for byte, what follows from the log; which checkpoint it is follows from plan
   and log.
9. Nothing else lies in the run's folder.

Of a run that did not complete everything that is there is checked, and what it did not come to is
not missed. That it did not complete is a check of its own, ``COMPLETE``, which says how it ended
and does not hold, unless its owner cancelled the run.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TypeAlias, TypeVar

from strongroom.audit.events import types as events
from strongroom.audit.events.entries import Event
from strongroom.audit.log.verify import COMPLETE, Check
from strongroom.connectors.buckets.errors import ObjectMissing
from strongroom.crypto.digests import Sha256, sha256
from strongroom.crypto.dsse import KeyRef, open_envelope
from strongroom.crypto.manifest import (
    CHECKPOINT_TYPE,
    DATASET_TYPE,
    DatasetManifest,
    decode_checkpoint,
    decode_dataset,
    decode_evaluator,
)
from strongroom.enclave.plan.derived import InputName, check_manifest
from strongroom.enclave.plan.document import Plan
from strongroom.enclave.plan.errors import PlanInconsistent, PlanMalformed
from strongroom.enclave.plan.objects import (
    MANIFEST,
    MODEL_LIST,
    RunLayout,
    checkpoint_steps,
)
from strongroom.enclave.plan.parts import DatasetFacts, DatasetRef
from strongroom.errors import StrongroomError
from strongroom.errors.listing import errors_of
from strongroom.pipeline.planning.plan import check_plan
from strongroom.pipeline.run.record.history import History
from strongroom.pipeline.run.record.result import result_of
from strongroom.trainer.config import TrainingConfig

Read: TypeAlias = bytes | StrongroomError
"""A small object, or why it could not be read."""
T = TypeVar("T", bound=events.EventData)


@dataclass(frozen=True)
class Pin:
    """An object whose digest is known; ``optional`` where the run may not have come to write it."""

    check: str
    uri: str
    sha256: str
    optional: bool = False


@dataclass(frozen=True)
class SealedInput:
    """A dataset or a sealed evaluator of the plan, and the check that its shards are in."""

    check: str
    name: InputName
    ref: DatasetRef
    decode: Callable[[bytes, str], DatasetManifest]


class Rules:
    """The checks of one run, made as its log and objects are given; ``checks`` grows with them.

    The log comes first, then the plan; without an admitted plan only ``strays`` is left to ask.
    """

    def __init__(self, run: str, layout: RunLayout, audit: str) -> None:
        self.checks: list[Check] = []
        self.plan: Plan | None = None
        self.manifests: dict[str, DatasetManifest] = {}
        """Of the sealed inputs, by the address of their folder."""
        self._run = run
        self._layout = layout
        self._audit = audit
        self._ours: list[Event] = []
        self._history = History()

    # ---- the log ---------------------------------------------------------------------------

    def take_log(self, checks: Iterable[Check], entries: Sequence[Event]) -> None:
        """The log's own checks, and its events: of all runs, in order."""
        self.checks += [
            replace(check, name=f"Audit log: {check.name}", object=self._audit + check.object)
            for check in checks
        ]
        self._ours = [event for event in entries if event.run == self._run]
        for event in self._ours:
            self._history.apply(event.data)
        self._check_story()

    def _check_story(self) -> None:
        """What every completed run has logged, and any other as far as it came."""
        logged = {event.type for event in self._ours}
        story = ["run.admitted", "enclave.started", "key.released"]
        if self._unfinished:
            opened = logged & {"shard.opened", "training.step", "checkpoint.written"}
            story = story[: 3 if opened else 1 if self._enclave_started else 0]
        for wanted in story:
            self._add("Audit log: the run's story", wanted in logged, f"{wanted} of {self._run}")
        ended = self._history.state in ("completed", "cancelled")
        self._add(COMPLETE, ended, f"run.completed of {self._run}", "" if ended else self._ending)

    # ---- plan and inputs -------------------------------------------------------------------

    def take_plan(self, read: Read) -> Plan | None:
        """The plan, if it is the admitted one."""
        uri = self._layout.plan
        if self._early and isinstance(read, ObjectMissing):
            return None
        admitted = {data.plan for data in self._of(events.RunAdmitted)}
        released = {data.plan for data in self._of(events.KeyReleased)}
        with self._checking("Plan is the admitted one", uri):
            data = _need(read)
            plan = Plan.from_json(data, place=uri)
            # More than one may have been admitted, if the first run ended before it wrote its plan;
            # keys are released for the one that is there.
            digest = sha256(data)
            if digest not in admitted or released - {digest}:
                expected = " or ".join(sorted(released or admitted)) or "an admitted plan"
                raise _Differs(f"expected {expected}")
            self.plan = plan
            self._check_plan(plan)
        return self.plan

    def _check_plan(self, plan: Plan) -> None:
        """The plan's fields against each other, and what the log says of them."""
        uri = self._layout.plan
        with self._checking("Plan's fields follow from each other", uri):
            check_plan(plan)
        with self._checking("Log and plan say the same", uri):
            for admitted in self._of(events.RunAdmitted):
                if admitted.plan == plan.digest:
                    _agree("policy", plan.policy.digest, admitted.policy)
                    _agree("base model", plan.model.digest, admitted.base_model)
                    _agree("evaluator", plan.evaluator.sha256, admitted.evaluator)
                    _agree("outputs", plan.outputs, admitted.outputs)
            for released in self._of(events.KeyReleased):
                _agree("measurement", plan.code.measurement, released.measurement)

    def sealed(self, plan: Plan) -> list[SealedInput]:
        """The inputs that have a manifest to be read."""
        found = [
            SealedInput("Shards", "train", plan.data.train, decode_dataset),
            SealedInput("Shards", "held_out", plan.data.held_out, decode_dataset),
        ]
        if plan.evaluator.sealed is not None:
            sealed = plan.evaluator.sealed
            found.append(SealedInput("Evaluator", "evaluator", sealed, decode_evaluator))
        return found

    def take_manifest(self, plan: Plan, sealed: SealedInput, read: Read) -> list[Pin]:
        """The manifest of a sealed input; returns its shards, if it is the plan's."""
        ref = sealed.ref
        uri = ref.uri + MANIFEST
        with self._checking("Dataset manifests and their signatures", uri):
            envelope = _same(_need(read), ref.manifest_sha256)
            payload, _ = open_envelope(envelope, DATASET_TYPE, [KeyRef(ref.signer)], place=uri)
            manifest = self.manifests[ref.uri] = sealed.decode(payload, uri)
            check_manifest(plan, sealed.name, DatasetFacts.of(envelope, ref.signer, manifest))
            return [
                Pin(sealed.check, ref.uri + shard.object, shard.sha256) for shard in manifest.shards
            ]
        return []

    def inputs(self, plan: Plan) -> Iterator[Pin]:
        """The inputs that the plan pins itself."""
        if plan.evaluator.sealed is None:
            source = self._layout.evaluator
            yield Pin("Evaluator", source, plan.evaluator.sha256, optional=self._early)
        yield Pin("Base model", plan.model.uri + MODEL_LIST, plan.model.digest)
        for file in plan.model.files:
            yield Pin("Base model", plan.model.uri + file.name, file.sha256)

    # ---- outputs ---------------------------------------------------------------------------

    def keyset(self) -> Iterator[Pin]:
        """The output keyset, as the releases give it."""
        name, uri = "Output keyset is the released one", self._layout.keys
        released = {
            key.keyset
            for data in self._of(events.KeyReleased)
            for key in data.keys
            if key.name == "outputs"
        }
        if len(released) == 1:
            yield Pin(name, uri, released.pop())
        elif released or not self._unfinished:
            self._add(name, False, uri, "no single release")

    def checkpoints(self) -> list[events.CheckpointWritten]:
        """The checkpoints of the log, each with a manifest to be read; of a repeated step, the
        last."""
        logged = {data.step: data for data in self._of(events.CheckpointWritten)}
        return [logged[step] for step in sorted(logged)]

    def take_checkpoint(
        self, plan: Plan, logged: events.CheckpointWritten, read: Read
    ) -> list[Pin]:
        """A checkpoint's manifest; returns its objects, if it is the logged one."""
        uri = self._layout.manifest(logged.step)
        folder = self._layout.checkpoint(logged.step)
        written = {item.name: (item.sha256, item.size_bytes) for item in logged.objects}
        named: dict[str, tuple[str, int]] = {}
        pins: list[Pin] = []
        with self._checking("Checkpoint manifests and their signatures", uri):
            envelope = _same(_need(read), logged.manifest)
            payload, _ = open_envelope(envelope, CHECKPOINT_TYPE, self._signers, place=uri)
            manifest = decode_checkpoint(payload, uri)
            found = (manifest.run, manifest.step, manifest.plan_digest)
            if found != (self._run, logged.step, plan.digest):
                raise _Differs("expected this run, step and plan")
            adapter = manifest.objects.get("adapter")
            if adapter is None or adapter.plaintext_sha256 != logged.adapter:
                raise _Differs(f"expected adapter {logged.adapter}")
            for entry in manifest.objects.values():
                named[entry.object] = entry.sha256, entry.size_bytes
                pins.append(Pin("Checkpoint objects", folder + entry.object, entry.sha256))
        for name, pinned in named.items():
            same = written.get(name) == pinned
            self._add("Checkpoint manifest agrees with the log", same, folder + name)
        return pins

    def take_result(self, plan: Plan, read: Read) -> None:
        """The result, and the choice of its checkpoint."""
        uri = self._layout.result
        if self._unfinished and isinstance(read, ObjectMissing):
            return
        with self._checking("Result follows from the log", uri):
            _same(_need(read), sha256(result_of(plan.run, plan.digest, self._ours)))
        with self._checking("Chosen checkpoint follows from plan and log", uri):
            training, ended = _training(plan), self._history.finished
            if training is None:
                raise _Differs("expected training settings of this version")
            if ended is None or self._history.ending(training, ended) != ended:
                raise _Differs("expected another step, or another reason to end")

    # ---- everything ------------------------------------------------------------------------

    def take_digest(self, pin: Pin, found: Sha256 | StrongroomError) -> None:
        """The digest of a pinned object, or why it could not be read."""
        if pin.optional and isinstance(found, ObjectMissing):
            return
        with self._checking(pin.check, pin.uri):
            if isinstance(found, StrongroomError):
                raise found
            if found != pin.sha256:
                raise _Differs(f"expected {pin.sha256}, found {found}")

    def take_names(self, names: Iterable[str]) -> None:
        """The objects in the run's folder, last of all: those that no check has named.

        What a run was about to log, its keyset or its next checkpoint, is there without an event of
        the log that pins it: whoever resumes the run writes it again, and compares.
        """
        known = {check.object for check in self.checks}
        unnamed = sorted({self._layout.folder + name for name in names} - known)
        ahead = self._about_to_be_logged()
        for uri in unnamed:
            if uri in ahead:
                name, detail = "Not logged yet when the run stopped", "no event of the log pins it"
                self._add(name, True, uri, detail)
        for uri in unnamed:
            if uri not in ahead:
                self._add("Nothing else in the run's folder", False, uri, "stray")

    def _about_to_be_logged(self) -> set[str]:
        if self.plan is None or not self._unfinished:
            return set()
        training = _training(self.plan)
        steps = () if training is None else checkpoint_steps(training)
        ahead = [step for step in steps if step > self._history.checkpoint]
        folder = self._layout.checkpoint(ahead[0]) if ahead else None
        objects = self.plan.objects.writes.objects
        return {uri for uri in objects if folder and uri.startswith(folder)} | {self._layout.keys}

    # ---- helpers ---------------------------------------------------------------------------

    def _of(self, kind: type[T]) -> list[T]:
        return [event.data for event in self._ours if isinstance(event.data, kind)]

    @property
    def _signers(self) -> list[KeyRef]:
        """The keys of the enclaves that keys were released to."""
        trusted = {data.evidence for data in self._of(events.KeyReleased)}
        started = self._of(events.EnclaveStarted)
        return [KeyRef(data.signing_key) for data in started if data.evidence in trusted]

    @property
    def _unfinished(self) -> bool:
        return self._history.state != "completed"

    @property
    def _enclave_started(self) -> bool:
        return bool(self._of(events.EnclaveStarted))

    @property
    def _early(self) -> bool:
        """Whether the run ended before its enclave started, perhaps before it wrote anything."""
        return self._unfinished and not self._enclave_started

    @property
    def _ending(self) -> str:
        """How a run ended that has no result."""
        match self._history.last:
            case events.RunFailed(code=code, stage=stage, step=step):
                return f"run.failed: {code} in stage {stage}, after step {step}"
            case events.RunDenied(denials=denials):
                return f"run.denied: {', '.join(f'rule {each.rule}' for each in denials)}"
        return f"it is {self._history.state}"

    @contextmanager
    def _checking(self, name: str, uri: str) -> Iterator[None]:
        """One check of an object, which fails by an error."""
        problem = ""
        try:
            yield
        except StrongroomError as error:
            problem = _told(error)
        except _Differs as difference:
            problem = str(difference)
        self._add(name, not problem, uri, problem)

    def _add(self, name: str, ok: bool, uri: str, detail: str = "") -> None:
        self.checks.append(Check(name, ok, uri, detail))


class _Differs(Exception):
    """An object is not the one that it has to be; says what was expected."""


def _agree(what: str, planned: str, logged: str) -> None:
    if planned != logged:
        raise _Differs(f"expected {what} {planned}, found {logged}")


def _told(error: StrongroomError) -> str:
    """An error in a line; of several, the first."""
    first, *more = errors_of(error)
    text = f"{first.code}: {first.title}"
    if isinstance(first, PlanInconsistent):
        text += f": {first.place}, expected {first.expected}, found {first.actual}"
    return text + (f", and {len(more)} more" if more else "")


def _need(read: Read) -> bytes:
    if isinstance(read, StrongroomError):
        raise read
    return read


def _same(data: bytes, digest: str) -> bytes:
    if (found := sha256(data)) != digest:
        raise _Differs(f"expected {digest}, found {found}")
    return data


def _training(plan: Plan) -> TrainingConfig | None:
    """The plan's training settings; None where they are of another version."""
    try:
        return plan.training
    except PlanMalformed:
        return None
