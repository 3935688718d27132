"""One run's processes: data broker (with its enclave), log broker, releaser, journal.

The Beam stages call the methods below; each asks the broker for one thing, turns what the enclave
says into events of the audit log, and returns a handle. This process sees handles, digests, counts
and rounded numbers, and never a credential, a key, a sealed object or a row.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import msgspec

from strongroom.audit.events import types as events
from strongroom.audit.events.alarms import ALARMS
from strongroom.audit.events.entries import Actor
from strongroom.crypto.digests import canonical, digest_of, sha256
from strongroom.crypto.manifest import DatasetManifest, WrappedKeyset
from strongroom.enclave.channel import frames
from strongroom.enclave.channel.errors import RecordRejected, RecordsRejected
from strongroom.enclave.evidence import Evidence, decode_evidence, evidence_digest
from strongroom.errors import ErrorList, StrongroomError
from strongroom.errors.defect import defect
from strongroom.pipeline.broker import messages
from strongroom.pipeline.broker.errors import OutputConflict
from strongroom.pipeline.planning.errors import FactMissing, RunExists
from strongroom.pipeline.planning.objects import KEYS, RunLayout, checkpoint_steps
from strongroom.pipeline.planning.plan import Plan
from strongroom.pipeline.run import edges
from strongroom.pipeline.run.connections import Connections
from strongroom.pipeline.run.failures import log_failure
from strongroom.pipeline.run.history import Course
from strongroom.pipeline.run.result import result_of
from strongroom.trainer.config import TrainingConfig

MAX_LISTED = 100
EVALUATOR = "evaluator"
"""A sealed evaluator among manifests and keysets; it is no dataset, and no stage opens it."""


class RunSession:
    """An admitted run with its processes; the stages' counterpart."""

    def __init__(
        self,
        plan: Plan,
        manifests: dict[str, tuple[bytes, DatasetManifest]],
        connections: Connections,
    ) -> None:
        self.plan = plan
        self.layout = RunLayout(plan.outputs, plan.run)
        self.manifests = {k: v for k, v in manifests.items() if k != EVALUATOR}
        self._manifests = manifests
        self.failure: StrongroomError | None = None
        self.interrupted = False
        self.stage = "plan"
        self.step = 0
        self.course = Course()
        self.original: events.TrainingFinished | None = None
        """In a replay: how the training that is repeated ended, since time decides otherwise."""
        self._training = TrainingConfig.model_validate(plan.spec["spec"]["training"])
        self._started = time.monotonic()
        self._connections = connections
        self._watcher = connections.watcher
        self.journal = connections.journal
        self._bad: list[RecordRejected] = []
        self._receipt: dict[str, Any] = {}
        connections.on_record = self._heard

    # ---- before the pipeline ---------------------------------------------------------------

    def publish_plan(self, evaluator: bytes | None) -> None:
        """Claim the run's id by creating its plan, then store the evaluator beside it.

        ``None`` for a sealed one, which stays where it is.
        """
        broker = self._connections.data
        if not broker.create(self.layout.plan, "run-create", self.plan.to_json()):
            raise RunExists(place=self.layout.plan)
        if evaluator is not None:
            broker.create(self.layout.evaluator, "run-create", evaluator)

    def start_enclave(self, evaluator: bytes = b"") -> Evidence:
        """Start the enclave on the plan and log what it says of itself.

        ``evaluator`` is the evaluator's source where it does not lie in the run's folder.
        """
        self.enter("enclave")
        nonce = self._connections.releaser.challenge()
        assurance = self.plan.spec["spec"]["enclave"]["assurance"]
        reply = self._connections.data.ask(
            messages.StartEnclave(
                plan=self.plan.to_json(), nonce=nonce, assurance=assurance, evaluator=evaluator
            )
        )
        evidence = decode_evidence(reply.data)
        self.journal.record(
            "enclave",
            events.EnclaveStarted(
                measurement=evidence.measurement,
                assurance=evidence.assurance,
                evidence=evidence_digest(evidence),
                signing_key=evidence.signing_key,
                probes=evidence.probes,
            ),
        )
        return evidence

    def release_keys(self, evidence: Evidence, *, keep: bool = True) -> None:
        """Get the keys from the releaser and hand them in; log the release or the refusal.

        Without ``keep`` a new output keyset is not written: nothing will be sealed under it.
        """
        self.enter("release")
        broker = self._connections.data
        stored = broker.read(self.layout.keys, "run-read")
        outputs = None if stored is None else _wrapped(stored[0])
        digest = evidence_digest(evidence)
        try:
            released = self._connections.releaser.release_run(
                self.plan.to_json(),
                msgspec.json.encode(evidence),
                {name: envelope for name, (envelope, _) in self._manifests.items()},
                outputs,
            )
        except StrongroomError as error:
            found = error.errors if isinstance(error, ErrorList) else (error,)
            reasons = tuple(item.code for item in found)
            denied = events.KeyDenied(plan=self.plan.digest, evidence=digest, reasons=reasons)
            self.journal.record("releaser", denied)
            raise
        if outputs is None and keep:
            # Before anything is sealed under it: else a crash, or a second resume that wrote its
            # own in the meantime, would leave outputs that nobody can read.
            self._create_once(self.layout.keys, canonical(released.keyset))
        keysets = {
            "train": self.plan.data.train.keyset,
            "held_out": self.plan.data.held_out.keyset,
            "outputs": released.keyset,
        }
        if self.plan.evaluator.sealed is not None:
            keysets[EVALUATOR] = self.plan.evaluator.sealed.keyset
        self.journal.record(
            "releaser",
            events.KeyReleased(
                plan=self.plan.digest,
                evidence=digest,
                measurement=evidence.measurement,
                assurance=evidence.assurance,
                keys=tuple(
                    events.ReleasedKey(
                        name=name,
                        key_id=keyset.key_id,
                        kms=keyset.kms,
                        commitment=keyset.commitment,
                        keyset=digest_of(keyset),
                    )
                    for name, keyset in keysets.items()
                ),
            ),
        )
        broker.ask(messages.GiveKeys(sealed=released.sealed))

    # ---- the stages ------------------------------------------------------------------------

    def open_datasets(self) -> Iterator[edges.ShardHandle]:
        """One handle per shard of both datasets."""
        self.enter("open")
        for dataset, (_envelope, manifest) in self.manifests.items():
            for shard in manifest.shards:
                yield edges.ShardHandle(
                    run=self.plan.run, dataset=dataset, shard=shard.index, sha256=shard.sha256
                )

    def verify_shard(self, handle: edges.ShardHandle) -> edges.ShardReceipt:
        """Authenticate one shard and check its records, in the enclave."""
        self.enter("verify")
        dataset: frames.Dataset = "train" if handle.dataset == "train" else "held_out"
        self._command(frames.Verify(dataset=dataset, shard=handle.shard))
        manifest = self.manifests[dataset][1]
        total = sum(len(each.shards) for _, each in self.manifests.values())
        before = 0 if dataset == "train" else len(self.manifests["train"][1].shards)
        self._watcher.progress("verify", before + handle.shard + 1, total)
        self.journal.record(
            "enclave",
            events.ShardOpened(
                dataset=manifest.name,
                shard=handle.shard,
                sha256=handle.sha256,
                records=manifest.shards[handle.shard].records,
                plaintext_bytes=manifest.shards[handle.shard].plaintext_bytes,
            ),
        )
        return edges.ShardReceipt(
            run=handle.run,
            dataset=dataset,
            shard=handle.shard,
            records=self._receipt["records"],
            bad_records=self._receipt["bad_records"],
        )

    def train(self, receipts: list[edges.ShardReceipt]) -> edges.TrainedHandle:
        """Train, checkpoint by checkpoint, if every record of every shard was good."""
        bad = sum(receipt.bad_records for receipt in receipts)
        if bad:
            raise self.rejected(bad)
        if "before" not in self.course.evaluations:
            self.enter("evaluate_before")
            self._command(frames.Evaluate(phase="before", step=0))
        self.enter("train")
        try:
            while self.course.finished is None:
                self._segment()
        except RecordsRejected:
            raise self.rejected(len(self._bad)) from None
        chosen = self._chosen()
        return edges.TrainedHandle(run=self.plan.run, step=chosen.step, adapter=chosen.adapter)

    def _segment(self) -> None:
        """What is due at the last checkpoint: its score, the end of training, or more training."""
        course, training = self.course, self._training
        here = course.checkpoint
        if training.score_checkpoints and here and here not in course.scores:
            self._command(frames.Evaluate(phase="during", step=here))
        ending = course.ending(training, self.original)
        if ending is not None:
            self._log("controller", ending)
            return
        following = min(step for step in checkpoint_steps(training) if step > here)
        self._command(frames.Train(from_step=here, to_step=following))

    def _chosen(self) -> events.CheckpointWritten:
        """The checkpoint that is the run's result."""
        if self.course.chosen is None:
            raise defect(AssertionError("training has not finished"))
        return self.course.chosen

    def evaluate(self, trained: edges.TrainedHandle) -> edges.EvaluatedHandle:
        """Score the held-out rows with the chosen adapter, read back from its checkpoint if need
        be."""
        self.enter("evaluate")
        if "after" not in self.course.evaluations:
            self._command(frames.Evaluate(phase="after", step=trained.step))
        return edges.EvaluatedHandle(
            run=trained.run,
            step=trained.step,
            adapter=trained.adapter,
            rows=self.course.evaluated_rows,
        )

    def publish(self, evaluated: edges.EvaluatedHandle) -> edges.PublishedHandle:
        """Write the result, which makes the run complete, and log it."""
        self.enter("publish")
        result = result_of(self.plan.run, self.plan.digest, self.journal.history())
        self._create_once(self.layout.result, result)
        chosen = self._chosen()
        self._connections.data.ask(messages.StopEnclave())  # its last words come before ours
        self.journal.record(
            "controller",
            events.RunPublished(
                uri=chosen.uri,
                manifest=chosen.manifest,
                adapter=chosen.adapter,
                objects=chosen.objects,
            ),
            events.RunCompleted(
                steps=self.course.checkpoint,
                seconds=frames.rounded(time.monotonic() - self._started),
                adapter=chosen.adapter,
                manifest=chosen.manifest,
            ),
        )
        return edges.PublishedHandle(run=evaluated.run, result=sha256(result))

    @contextmanager
    def failing(self) -> Iterator[None]:
        """Log whatever fails, with the stage and step that the run had come to."""
        try:
            yield
        except Exception as error:
            log_failure(self._connections, error, self.stage, self.step)
            raise

    # ---- resuming --------------------------------------------------------------------------

    def go_on(self, history: Iterable[events.EventData] = ()) -> None:
        """Take up a run with this history."""
        self.hear(history)
        self.journal.record("controller", events.RunResumed(plan=self.plan.digest, step=self.step))

    def hear(self, history: Iterable[events.EventData]) -> None:
        """Know what the log tells of the run so far."""
        for event in history:
            self.course.hear(event)
        self.step = self.course.checkpoint

    def _create_once(self, uri: str, data: bytes) -> None:
        """Create an object of the run, or find it there alike: somebody may have been quicker."""
        broker = self._connections.data
        if broker.create(uri, "run-create", data):
            return
        stored = broker.read(uri, "run-read")
        if stored is None or stored[0] != data:
            actual = "" if stored is None else sha256(stored[0])
            raise OutputConflict(place=uri, expected=sha256(data), actual=actual)

    # ---- what the enclave says -------------------------------------------------------------

    def _command(self, command: frames.Command) -> None:
        self._connections.data.ask(messages.Run(command=command))

    def enter(self, stage: str) -> None:
        """A stage begins, unless the run is in it."""
        if stage != self.stage:
            self.stage = stage
            self._watcher.stage(stage)

    def _heard(self, notice: messages.Notice) -> None:
        data = notice.data
        match notice.kind:
            case "progress" if self.stage == "train" and data["activity"] == "evaluate":
                pass  # the bar shows steps; what is scored between them would push it back
            case "progress":
                self._watcher.progress(data["activity"], data["done"], data["total"])
            case "shard_verified":
                self._receipt = data
            case "bad_record":
                self._heard_bad(data)
            case "step_done":
                self.step = data["step"]
                self._watcher.step(data["step"], data["values"])
                self._log("enclave", events.TrainingStep(step=data["step"], values=data["values"]))
                for alarm in self.course.new_alarms():
                    self._log("controller", alarm)
                    explained = ALARMS[alarm.alarm]
                    self._watcher.alarm(
                        f"step {alarm.step}: {explained.meaning}: {explained.advice}"
                    )
            case "checkpoint_done":
                self._heard_checkpoint(data)
            case "evaluated":
                finished = self.course.finished
                steps = {
                    "before": 0,
                    "during": self.course.checkpoint,
                    "after": finished.chosen if finished else 0,
                }
                self._log(
                    "enclave",
                    events.EvaluationFinished(
                        phase=data["phase"],
                        step=steps[data["phase"]],
                        records=data["rows"],
                        values=data["values"],
                    ),
                )

    def _heard_bad(self, data: dict[str, Any]) -> None:
        manifest = self.manifests[data["dataset"]][1]
        uri = getattr(self.plan.data, data["dataset"]).uri
        shard = manifest.shards[data["shard"]].object
        self._bad.append(RecordRejected(place=f"{uri}{shard}:{data['line']}", actual=data["fault"]))
        self.journal.note(
            "enclave",
            events.RecordRejected(
                dataset=manifest.name, shard=data["shard"], line=data["line"], code=data["fault"]
            ),
        )

    def _heard_checkpoint(self, data: dict[str, Any]) -> None:
        objects = tuple(
            events.WrittenObject(
                name=f"{name}.sealed",
                sha256=data[name]["sha256"],
                size_bytes=data[name]["size_bytes"],
            )
            for name in ("adapter", "state", "rollouts")
        )
        self._log(
            "enclave",
            events.CheckpointWritten(
                step=data["step"],
                uri=self.layout.checkpoint(data["step"]),
                objects=objects,
                adapter=data["adapter"]["plaintext_sha256"],
                manifest=data["manifest"],
            ),
        )

    def _log(self, actor: Actor, event: events.EventData) -> None:
        """Log an event of the training, and let the course hear it: in this order."""
        self.journal.record(actor, event)
        self.course.hear(event)

    def rejected(self, count: int) -> StrongroomError:
        """The error for ``count`` bad records, with those that were told one by one."""
        listed: list[StrongroomError] = list(self._bad[:MAX_LISTED])
        self.journal.record("enclave")
        return ErrorList([*listed, RecordsRejected(actual=f"{count}")])


def _wrapped(data: bytes) -> WrappedKeyset:
    try:
        return msgspec.json.decode(data, type=WrappedKeyset)
    except msgspec.DecodeError:
        raise FactMissing(place=KEYS, expected="a wrapped keyset") from None
