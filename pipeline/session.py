"""One run's processes: data broker (with its enclave), log broker, releaser, journal.

The Beam stages call the methods below; each asks the broker for one thing, turns what the enclave
says into events of the audit log, and returns a handle. This process sees handles, digests, counts
and rounded numbers, and never a credential, a key, a sealed object or a row.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from typing import Any, Protocol

import msgspec

from audit import event_types as events
from crypto.digests import canonical, digest_of, sha256
from crypto.dsse import KeyRef
from crypto.manifest import DatasetManifest, WrappedKeyset
from enclave import frames
from enclave.channel_errors import RecordRejected, RecordsRejected
from enclave.evidence import Evidence, decode_evidence, evidence_digest
from errors import ErrorList, StrongroomError
from pipeline import edges, rpc
from pipeline.broker_client import BrokerClient
from pipeline.journal import Journal, lease_event
from pipeline.layout import RunLayout
from pipeline.plan import Plan
from pipeline.process_errors import FactMissing, OutputConflict, RunExists
from pipeline.releaser_socket import ReleaserClient
from pipeline.result import result_of

MAX_LISTED = 100


class Watcher(Protocol):
    """Whoever shows a run to a person; see ``pipeline.progress``."""

    def stage(self, name: str) -> None:
        """A stage of the run begins."""
        ...

    def progress(self, activity: str, done: int, total: int) -> None:
        """``done`` of ``total`` units of an activity."""
        ...

    def step(self, step: int, values: dict[str, float]) -> None:
        """A training step ended."""
        ...

    def fact(self, text: str) -> None:
        """Something worth a line."""
        ...


class Connections:
    """The processes behind a run, before and after its plan is known."""

    def __init__(
        self,
        *,
        run: str,
        audit_uri: str,
        audit_kms: str,
        configure: rpc.Configure,
        releaser: ReleaserClient,
        watcher: Watcher,
        run_folder: str,
    ) -> None:
        self.releaser = releaser
        self.run_folder = run_folder
        self.watcher = watcher
        self.on_record: Callable[[rpc.Notice], None] = lambda _notice: None
        public = releaser.public_keys(audit_kms)
        self.kms_owner = public.kms_owner
        self.data = BrokerClient(self._notice)
        self.log = BrokerClient(self._notice)
        self.journal = Journal(
            run,
            audit_uri,
            self.log,
            lambda note: releaser.sign_note(audit_kms, note),
            KeyRef(public.audit),
        )
        try:
            audit = tuple(ref for ref in configure.leases if ref.purpose == "audit-append")
            data = tuple(ref for ref in configure.leases if ref.purpose != "audit-append")
            self.data.ask(msgspec.structs.replace(configure, leases=data))
            self.log.ask(msgspec.structs.replace(configure, leases=audit))
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """End both brokers, and with them the enclave."""
        self.data.close()
        self.log.close()

    def _notice(self, notice: rpc.Notice) -> None:
        if notice.kind == "lease":
            self.journal.note("broker", lease_event(notice.data))
        else:
            self.on_record(notice)


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
        self.manifests = manifests
        self.failure: StrongroomError | None = None
        self.interrupted = False
        self.stage = "start"
        self.step = 0
        self.checkpoint = 0
        self.adapter = ""
        self.evaluations: dict[str, dict[str, float]] = {}
        self.evaluated_rows = 0
        self._started = time.monotonic()
        self._connections = connections
        self._watcher = connections.watcher
        self.journal = connections.journal
        self._bad: list[RecordRejected] = []
        self._last_manifest = ""
        self._last_objects: tuple[events.WrittenObject, ...] = ()
        self._receipt: dict[str, Any] = {}
        connections.on_record = self._heard

    # ---- before the pipeline ---------------------------------------------------------------

    def publish_plan(self, evaluator: bytes) -> None:
        """Claim the run's id by creating its plan, then store the evaluator beside it."""
        broker = self._connections.data
        if not broker.create(self.layout.plan, "run-create", self.plan.to_json()):
            raise RunExists(place=self.layout.plan)
        broker.create(self.layout.evaluator, "run-create", evaluator)

    def start_enclave(self) -> Evidence:
        """Start the enclave on the plan and log what it says of itself."""
        self._enter("enclave")
        nonce = self._connections.releaser.challenge()
        assurance = self.plan.spec["spec"]["enclave"]["assurance"]
        reply = self._connections.data.ask(
            rpc.StartEnclave(plan=self.plan.to_json(), nonce=nonce, assurance=assurance)
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

    def release_keys(self, evidence: Evidence) -> None:
        """Get the keys from the releaser and hand them in; log the release or the refusal."""
        self._enter("release")
        broker = self._connections.data
        stored = broker.read(self.layout.keys, "run-read")
        outputs = None if stored is None else _wrapped(stored[0])
        digest = evidence_digest(evidence)
        try:
            released = self._connections.releaser.release_run(
                self.plan.to_json(),
                msgspec.json.encode(evidence),
                {name: envelope for name, (envelope, _) in self.manifests.items()},
                outputs,
            )
        except StrongroomError as error:
            found = error.errors if isinstance(error, ErrorList) else (error,)
            reasons = tuple(item.code for item in found)
            denied = events.KeyDenied(plan=self.plan.digest, evidence=digest, reasons=reasons)
            self.journal.record("releaser", denied)
            raise
        if outputs is None:
            # Before anything is sealed under it: else a crash would leave unreadable outputs.
            broker.create(self.layout.keys, "run-create", canonical(released.keyset))
        keysets = {
            "train": self.plan.data.train.keyset,
            "held_out": self.plan.data.held_out.keyset,
            "outputs": released.keyset,
        }
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
        broker.ask(rpc.GiveKeys(sealed=released.sealed))

    # ---- the stages ------------------------------------------------------------------------

    def open_datasets(self) -> Iterator[edges.ShardHandle]:
        """One handle per shard of both datasets."""
        self._enter("open")
        for dataset, (_envelope, manifest) in self.manifests.items():
            for shard in manifest.shards:
                yield edges.ShardHandle(
                    run=self.plan.run, dataset=dataset, shard=shard.index, sha256=shard.sha256
                )

    def verify_shard(self, handle: edges.ShardHandle) -> edges.ShardReceipt:
        """Authenticate one shard and check its records, in the enclave."""
        self._enter("verify")
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
        """Train from the last checkpoint, if every record of every shard was good."""
        bad = sum(receipt.bad_records for receipt in receipts)
        if bad:
            raise self._rejected(bad)
        if "before" not in self.evaluations:
            self._enter("evaluate_before")
            self._command(frames.Evaluate(phase="before"))
        self._enter("train")
        try:
            self._command(frames.Train(resume_step=self.checkpoint))
        except RecordsRejected:
            raise self._rejected(len(self._bad)) from None
        return edges.TrainedHandle(run=self.plan.run, step=self.checkpoint, adapter=self.adapter)

    def evaluate(self, trained: edges.TrainedHandle) -> edges.EvaluatedHandle:
        """Score the held-out rows with the adapter."""
        self._enter("evaluate")
        if "after" not in self.evaluations:
            self._command(frames.Evaluate(phase="after"))
        return edges.EvaluatedHandle(
            run=trained.run, step=trained.step, adapter=trained.adapter, rows=self.evaluated_rows
        )

    def publish(self, evaluated: edges.EvaluatedHandle) -> edges.PublishedHandle:
        """Write the result, which makes the run complete, and log it."""
        self._enter("publish")
        result = result_of(self.plan.run, self.plan.digest, self.journal.history())
        broker = self._connections.data
        if not broker.create(self.layout.result, "run-create", result):
            stored = broker.read(self.layout.result, "run-read")
            if stored is None or stored[0] != result:
                raise OutputConflict(place=self.layout.result, expected=sha256(result))
        self.journal.record(
            "controller",
            events.RunPublished(
                uri=self.layout.checkpoint(evaluated.step),
                manifest=self._last_manifest,
                adapter=evaluated.adapter,
                objects=self._last_objects,
            ),
            events.RunCompleted(
                steps=evaluated.step,
                seconds=frames.rounded(time.monotonic() - self._started),
                adapter=evaluated.adapter,
                manifest=self._last_manifest,
            ),
        )
        self._connections.data.ask(rpc.StopEnclave())
        return edges.PublishedHandle(run=evaluated.run, result=sha256(result))

    def fail(self, error: StrongroomError) -> None:
        """Log the failure; a log that cannot be written must not hide what went wrong."""
        with contextlib.suppress(StrongroomError):
            self.journal.record(
                "controller",
                events.RunFailed(code=error.code, stage=self.stage, step=self.step),
            )

    # ---- resuming --------------------------------------------------------------------------

    def continue_from(self, checkpoints: dict[int, events.CheckpointWritten]) -> None:
        """Take up a run with these checkpoints by step."""
        if checkpoints:
            self.checkpoint = max(checkpoints)
            last = checkpoints[self.checkpoint]
            self.adapter, self._last_manifest = last.adapter, last.manifest
            self._last_objects = last.objects
        self.step = self.checkpoint
        self.journal.record(
            "controller", events.RunResumed(plan=self.plan.digest, step=self.checkpoint)
        )

    # ---- what the enclave says -------------------------------------------------------------

    def _command(self, command: frames.Command) -> None:
        self._connections.data.ask(rpc.Run(command=command))

    def _enter(self, stage: str) -> None:
        if stage != self.stage:
            self.stage = stage
            self._watcher.stage(stage)

    def _heard(self, notice: rpc.Notice) -> None:
        data = notice.data
        match notice.kind:
            case "progress":
                self._watcher.progress(data["activity"], data["done"], data["total"])
            case "shard_verified":
                self._receipt = data
            case "bad_record":
                self._heard_bad(data)
            case "step_done":
                self.step = data["step"]
                self._watcher.step(data["step"], data["values"])
                self.journal.record(
                    "enclave", events.TrainingStep(step=data["step"], values=data["values"])
                )
            case "checkpoint_done":
                self._heard_checkpoint(data)
            case "evaluated":
                self.evaluations[data["phase"]] = data["values"]
                self.evaluated_rows = data["rows"]
                self.journal.record(
                    "enclave",
                    events.EvaluationFinished(
                        phase=data["phase"],
                        step=0 if data["phase"] == "before" else self.checkpoint,
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
        self.checkpoint = data["step"]
        self.adapter = data["adapter"]["plaintext_sha256"]
        self._last_manifest = data["manifest"]
        self._last_objects = tuple(
            events.WrittenObject(
                name=f"{name}.sealed",
                sha256=data[name]["sha256"],
                size_bytes=data[name]["size_bytes"],
            )
            for name in ("adapter", "state", "rollouts")
        )
        self.journal.record(
            "enclave",
            events.CheckpointWritten(
                step=data["step"],
                uri=self.layout.checkpoint(data["step"]),
                objects=self._last_objects,
                adapter=self.adapter,
                manifest=self._last_manifest,
            ),
        )

    def _rejected(self, count: int) -> StrongroomError:
        listed: list[StrongroomError] = list(self._bad[:MAX_LISTED])
        self.journal.record("enclave")
        return ErrorList([*listed, RecordsRejected(actual=f"{count}")])


def _wrapped(data: bytes) -> WrappedKeyset:
    try:
        return msgspec.json.decode(data, type=WrappedKeyset)
    except msgspec.DecodeError:
        raise FactMissing(place="keys.json", expected="a wrapped keyset") from None
