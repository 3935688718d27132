"""``strongroom verify``: a run checked from its objects and the log alone.

Trusted is one thing, which the verifier brings: the log's public key. From it follow the log's
entries, from those the plan's digest, from the plan every dataset, model file and the evaluator,
and from the log again every checkpoint and the result. Each object is named in its check, and what
should not be there is named too. A check never stops the others.

Of a run that did not complete everything that is there is checked, and what it did not come to is
not missed. That it did not complete is a check of its own, ``COMPLETE``, which tells how it ended
and does not hold, unless its owner cancelled the run.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator

from strongroom.audit.events import types as events
from strongroom.audit.events.entries import Event, from_entry
from strongroom.audit.log.verify import COMPLETE, Check, LogView, check_log, read_log
from strongroom.connectors.buckets.errors import ObjectMissing
from strongroom.crypto.digests import sha256
from strongroom.crypto.dsse import KeyRef, open_envelope
from strongroom.crypto.manifest import (
    CHECKPOINT_TYPE,
    DATASET_TYPE,
    CheckpointManifest,
    DatasetManifest,
    decode_checkpoint,
    decode_dataset,
    decode_evaluator,
)
from strongroom.errors import StrongroomError
from strongroom.pipeline.broker.reading import ReadAccess, ReadOnlyLog
from strongroom.pipeline.planning.objects import MANIFEST, MODEL_LIST, checkpoint_steps
from strongroom.pipeline.planning.parts import DatasetRef
from strongroom.pipeline.planning.plan import Plan
from strongroom.pipeline.run.history import Course
from strongroom.pipeline.run.journal import log_origin
from strongroom.pipeline.run.result import result_of
from strongroom.trainer.config import TrainingConfig


class Verification:
    """All checks of one run; ``checks`` grows as they are made."""

    def __init__(self, access: ReadAccess, run: str, vkey: str) -> None:
        self._access = access
        self._run = run
        self._vkey = vkey
        self.checks: list[Check] = []
        self.log: LogView | None = None
        self.entries: list[Event] = []
        self.plan: Plan | None = None
        self._ours: list[Event] = []
        self._course = Course()

    def verify(self) -> list[Check]:
        """Make every check that can be made."""
        self._check_log()
        self._ours = ours = [event for event in self.entries if event.run == self._run]
        for event in ours:
            self._course.hear(event.data)
        self._check_story(ours)
        self._check_plan(ours)
        if self.plan is not None:
            self._check_inputs(self.plan)
            self._check_keys(ours)
            self._check_checkpoints(ours, self.plan)
            self._check_result(ours, self.plan)
            self._check_left_over(self.plan)
        self._check_strays()
        return self.checks

    # ---- the log ---------------------------------------------------------------------------

    def _check_log(self) -> None:
        store = ReadOnlyLog(self._access)
        origin = log_origin(self._access.audit)
        for check in check_log(store, self._vkey, origin, keys=store.keys()):
            name = f"Audit log: {check.name}"
            self._add(name, check.ok, self._access.audit + check.object, check.detail)
        try:
            self.log = read_log(store, self._vkey, origin)
            self.entries = [from_entry(entry) for entry in self.log.entries]
        except StrongroomError as error:
            self._add("Audit log: entries", False, self._access.audit, f"{error.code}: {error}")

    def _check_story(self, ours: list[Event]) -> None:
        """What every completed run has to have told, and any other as far as it came."""
        told = {event.type for event in ours}
        story = ["run.admitted", "enclave.started", "key.released"]
        if self._unfinished:
            opened = told & {"shard.opened", "training.step", "checkpoint.written"}
            story = story[: 3 if opened else 1 if self._enclave_started else 0]
        for wanted in story:
            self._add("Audit log: the run's story", wanted in told, f"{wanted} of {self._run}")
        ended = self._course.state in ("completed", "cancelled")
        self._add(COMPLETE, ended, f"run.completed of {self._run}", "" if ended else self._ending)

    @property
    def _ending(self) -> str:
        """Where a run stands that has no result."""
        match self._course.last:
            case events.RunFailed(code=code, stage=stage, step=step):
                return f"run.failed: {code} in stage {stage}, after step {step}"
            case events.RunDenied(denials=denials):
                return f"run.denied: {', '.join(f'rule {each.rule}' for each in denials)}"
        return f"it is {self._course.state}"

    @property
    def _unfinished(self) -> bool:
        return self._course.state != "completed"

    @property
    def _enclave_started(self) -> bool:
        return any(isinstance(event.data, events.EnclaveStarted) for event in self._ours)

    def _never_written(self, uri: str) -> bool:
        """Whether a run that ended before its enclave started did not come to write it."""
        early = self._unfinished and not self._enclave_started
        return early and self._access.get(uri) is None

    # ---- plan and inputs -------------------------------------------------------------------

    def _check_plan(self, ours: list[Event]) -> None:
        admitted = {event.data.plan for event in ours if isinstance(event.data, events.RunAdmitted)}
        released = {event.data.plan for event in ours if isinstance(event.data, events.KeyReleased)}
        uri = self._access.layout.plan
        if self._never_written(uri):
            return

        def check() -> str:
            data = self._need(uri)
            plan = Plan.from_json(data, place=uri)
            # More than one may have been admitted, if the first run ended before it wrote its plan;
            # keys are released for the one that is there.
            digest = sha256(data)
            if digest not in admitted or released - {digest}:
                return f"expected {' or '.join(sorted(released or admitted)) or 'an admitted plan'}"
            self.plan = plan
            return ""

        self._try("Plan is the admitted one", uri, check)

    def _check_inputs(self, plan: Plan) -> None:
        for dataset in (plan.data.train, plan.data.held_out):
            self._check_sealed("Shards", dataset, decode_dataset)
        source = self._access.layout.evaluator
        if plan.evaluator.sealed is not None:
            self._check_sealed("Evaluator", plan.evaluator.sealed, decode_evaluator)
        elif not self._never_written(source):
            self._pinned("Evaluator", source, plan.evaluator.sha256)
        self._pinned("Base model", plan.model.uri + MODEL_LIST, plan.model.digest)
        for file in plan.model.files:
            self._pinned("Base model", plan.model.uri + file.name, file.sha256)

    def _check_sealed(
        self, name: str, ref: DatasetRef, decode: Callable[[bytes, str], DatasetManifest]
    ) -> None:
        manifest = self._dataset(ref, decode)
        for shard in manifest.shards if manifest else ():
            self._pinned(name, ref.uri + shard.object, shard.sha256)

    def _dataset(
        self, ref: DatasetRef, decode: Callable[[bytes, str], DatasetManifest]
    ) -> DatasetManifest | None:
        uri = ref.uri + MANIFEST
        found: list[DatasetManifest] = []

        def check() -> str:
            envelope = self._need(uri)
            if sha256(envelope) != ref.manifest_sha256:
                return f"expected {ref.manifest_sha256}, found {sha256(envelope)}"
            signer = KeyRef(ref.signer)
            payload, _ = open_envelope(envelope, DATASET_TYPE, [signer], place=uri)
            found.append(decode(payload, uri))
            return ""

        self._try("Dataset manifests and their signatures", uri, check)
        return found[0] if found else None

    # ---- outputs ---------------------------------------------------------------------------

    def _check_keys(self, ours: list[Event]) -> None:
        uri = self._access.layout.keys
        released = [event.data for event in ours if isinstance(event.data, events.KeyReleased)]
        wanted = {key.keyset for item in released for key in item.keys if key.name == "outputs"}
        if len(wanted) == 1:
            self._pinned("Output keyset is the released one", uri, wanted.pop())
        elif self._unfinished and not wanted:
            return  # it ended before any key was released
        else:
            self._add("Output keyset is the released one", False, uri, "no single release")

    def _check_checkpoints(self, ours: list[Event], plan: Plan) -> None:
        trusted = {
            event.data.evidence for event in ours if isinstance(event.data, events.KeyReleased)
        }
        signers = [
            KeyRef(event.data.signing_key)
            for event in ours
            if isinstance(event.data, events.EnclaveStarted) and event.data.evidence in trusted
        ]
        logged = {
            event.data.step: event.data
            for event in ours
            if isinstance(event.data, events.CheckpointWritten)
        }
        for step, data in sorted(logged.items()):
            folder = self._access.layout.checkpoint(step)
            manifest = self._checkpoint(folder, step, data, signers, plan)
            if manifest is None:
                continue
            for entry in manifest.objects.values():
                written = {item.name: item.sha256 for item in data.objects}
                same = written.get(entry.object) == entry.sha256
                self._add("Checkpoint manifest agrees with the log", same, folder + entry.object)
                self._pinned("Checkpoint objects", folder + entry.object, entry.sha256)

    def _checkpoint(
        self,
        folder: str,
        step: int,
        data: events.CheckpointWritten,
        signers: list[KeyRef],
        plan: Plan,
    ) -> CheckpointManifest | None:
        uri = folder + MANIFEST
        found: list[CheckpointManifest] = []

        def check() -> str:
            envelope = self._need(uri)
            if sha256(envelope) != data.manifest:
                return f"expected {data.manifest}, found {sha256(envelope)}"
            payload, _ = open_envelope(envelope, CHECKPOINT_TYPE, signers, place=uri)
            manifest = decode_checkpoint(payload, uri)
            if (manifest.run, manifest.step, manifest.plan_digest) != (
                self._run,
                step,
                plan.digest,
            ):
                return "expected this run, step and plan"
            if manifest.objects["adapter"].plaintext_sha256 != data.adapter:
                return f"expected adapter {data.adapter}"
            found.append(manifest)
            return ""

        self._try("Checkpoint manifests and their signatures", uri, check)
        return found[0] if found else None

    def _check_result(self, ours: list[Event], plan: Plan) -> None:
        uri = self._access.layout.result
        ended = self._course.finished
        if self._unfinished and self._access.get(uri) is None:
            return

        def check() -> str:
            data = self._need(uri)
            wanted = result_of(plan.run, plan.digest, ours)
            return "" if data == wanted else f"expected {sha256(wanted)}, found {sha256(data)}"

        self._try("Result follows from the log", uri, check)
        training = TrainingConfig.model_validate(plan.spec["spec"]["training"])
        right = ended is not None and self._course.ending(training, ended) == ended
        self._add("Chosen checkpoint follows from plan and log", right, uri)

    def _check_left_over(self, plan: Plan) -> None:
        """What a run was about to log: keyset or next checkpoint, not pinned by the log.

        Whoever resumes the run writes it again, and compares.
        """
        if not self._unfinished:
            return
        layout = self._access.layout
        training = TrainingConfig.model_validate(plan.spec["spec"]["training"])
        ahead = [step for step in checkpoint_steps(training) if step > self._course.checkpoint]
        expected = {layout.keys}
        for uri in plan.objects.writes.objects:
            if ahead and uri.startswith(layout.checkpoint(ahead[0])):
                expected.add(uri)
        known = {check.object for check in self.checks}
        there = {layout.folder + name for name in self._names()}
        name, detail = "Not logged yet when the run stopped", "no event of the log pins it"
        for uri in sorted(there & expected - known):
            self._add(name, True, uri, detail)

    def _names(self) -> list[str]:
        return self._access.names(self._access.layout.folder)

    def _check_strays(self) -> None:
        folder = self._access.layout.folder
        known = {check.object for check in self.checks}
        for name in self._names():
            if folder + name not in known:
                self._add("Nothing else in the run's folder", False, folder + name, "stray")

    # ---- helpers ---------------------------------------------------------------------------

    def _pinned(self, name: str, uri: str, digest: str) -> None:
        """One object against its digest, in constant memory."""

        def check() -> str:
            found = hashlib.sha256()
            for piece in self._pieces(uri):
                found.update(piece)
            actual = f"sha256:{found.hexdigest()}"
            return "" if actual == digest else f"expected {digest}, found {actual}"

        self._try(name, uri, check)

    def _pieces(self, uri: str) -> Iterator[memoryview]:
        try:
            yield from self._access.stream(uri)
        except ObjectMissing:
            raise ObjectMissing(place=uri) from None

    def _need(self, uri: str) -> bytes:
        data = self._access.get(uri)
        if data is None:
            raise ObjectMissing(place=uri)
        return data

    def _try(self, name: str, uri: str, check: Callable[[], str]) -> None:
        try:
            problem = check()
        except StrongroomError as error:
            problem = f"{error.code}: {error.title}"
        self._add(name, not problem, uri, problem)

    def _add(self, name: str, ok: bool, obj: str, detail: str = "") -> None:
        self.checks.append(Check(name, ok, obj, detail))
