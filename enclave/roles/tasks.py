"""What a ``train`` enclave does once it has keys: verify shards, train, evaluate.

Imported only after stage A, since it pulls in torch. Everything comes through the channel and
everything goes out sealed, or as a record of ``enclave.channel.frames``.
"""

from __future__ import annotations

import base64
from collections.abc import Container, Iterator, Sequence
from dataclasses import dataclass, field

import msgspec

from strongroom.crypto.digests import sha256
from strongroom.crypto.dsse import pae
from strongroom.crypto.manifest import (
    CHECKPOINT_TYPE,
    DatasetManifest,
    decode_dataset,
    encode,
    encode_header,
    object_ad,
)
from strongroom.crypto.pinned import check_keyset
from strongroom.crypto.segments import HEADER_BYTES
from strongroom.crypto.streaming import StreamingKey
from strongroom.enclave.attest import Attested
from strongroom.enclave.channel import frames
from strongroom.enclave.channel.errors import ChannelViolation, PlanMismatch, RecordsRejected
from strongroom.enclave.channel.framing import Channel
from strongroom.enclave.channel.progress import Progress
from strongroom.enclave.checkpoints import checkpoint_manifest
from strongroom.enclave.evaluator.process import EvaluatorProcess
from strongroom.enclave.evaluator.source import evaluator_source
from strongroom.enclave.evaluator.trial import trial, trial_rows
from strongroom.enclave.orders import Orders
from strongroom.enclave.rows.lines import Position
from strongroom.enclave.rows.shards import open_shard
from strongroom.trainer.config import TrainingConfig
from strongroom.trainer.data.chat import FaultCode, RecordFault
from strongroom.trainer.data.rows import Row, SparseRows, decode_row
from strongroom.trainer.evaluation.held_out import evaluate
from strongroom.trainer.evaluation.memorisation import exposure_metrics, plant
from strongroom.trainer.loop import train
from strongroom.trainer.model.lora import Policy
from strongroom.trainer.rollouts.prompts import check_prompt
from strongroom.trainer.rollouts.scoring import ScoredRollout
from strongroom.trainer.steps.checkpoint import Checkpoint, load_adapter, resumed_state
from strongroom.trainer.steps.metrics import StepMetrics
from strongroom.trainer.steps.schedule import needed_rows
from strongroom.trainer.steps.state import TrainingState, new_state

OUTPUTS = "outputs"
DATASETS: tuple[frames.Dataset, ...] = ("train", "held_out")
SAMPLE_ROLLOUTS = 32


@dataclass
class Where:
    """Where the work stands, for a failure record: numbers only."""

    dataset: frames.Dataset = "train"
    shard: int = -1
    step: int = -1
    position: Position = field(default_factory=Position)


class Fetcher:
    """Objects of the plan, asked for over the channel."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self._buffer = bytearray()

    def pieces(self, request: frames.Fetch) -> Iterator[memoryview]:
        """An object's bytes, piece by piece; each piece is valid until the next."""
        self._channel.send_record(request)
        return self._channel.recv_object(self._buffer)

    def whole(self, request: frames.Fetch, digest: str | None) -> bytearray:
        """A whole object; its SHA-256 must be ``digest`` where one is pinned."""
        data = bytearray()
        for piece in self.pieces(request):
            data += piece
        if digest is not None and sha256(data) != digest:
            raise PlanMismatch(place=request.kind, expected=digest, actual=sha256(data))
        return data


class Tasks:
    """The state of one enclave between commands."""

    def __init__(
        self,
        channel: Channel,
        orders: Orders,
        config: TrainingConfig,
        policy: Policy,
        evaluator: EvaluatorProcess,
        attested: Attested,
        window: memoryview,
    ) -> None:
        self._channel = channel
        self._orders = orders
        self._config = config
        self._policy = policy
        self._scorer = evaluator
        self._attested = attested
        self._window = window
        self.where = Where()
        self._fetcher = Fetcher(channel)
        self._outputs: StreamingKey = attested.keysets[OUTPUTS].streaming()
        evaluator.load(
            evaluator_source(self._fetcher.whole, orders.evaluator, attested.keysets),
            orders.evaluator.metrics,
            timeout_s=orders.evaluator.timeout_s,
            environment=config.sampling.max_turns > 1,
            score_range=orders.evaluator.score_range,
            concurrency=orders.evaluator.concurrency,
        )
        self._manifests = {dataset: self._manifest(dataset) for dataset in DATASETS}
        self._asked: dict[frames.Dataset, Container[int]] = {
            "train": frozenset(needed_rows(config, self._manifests["train"].records)),
            "held_out": range(self._manifests["held_out"].records),
        }
        self._bad_reported = 0
        self._rows: SparseRows | None = None
        self._state: TrainingState | None = None

    def verify(self, command: frames.Verify) -> None:
        """Authenticate every segment of one shard and check every record.

        Prompts are rendered and measured for the rows that the run can come to: so much is known
        before anything is trained or evaluated, at a cost that is small beside answering them.
        """
        good = bad = 0
        shards = self._manifests[command.dataset].shards
        first = sum(shard.records for shard in shards[: command.shard])
        for row, line in enumerate(self._lines(command.dataset, command.shard), first):
            fault = self._fault(line, asks=row in self._asked[command.dataset])
            if fault is None:
                good += 1
            else:
                bad += 1
                self._report_bad(fault)
        self._channel.send_record(
            frames.ShardVerified(
                dataset=command.dataset,
                shard=command.shard,
                records=good,
                bad_records=bad,
                plaintext_bytes=shards[command.shard].plaintext_bytes,
            )
        )

    def evaluate(self, command: frames.Evaluate) -> None:
        """Score the held-out rows, with a checkpoint's adapter or without any."""
        if command.phase != "before":
            self._take_adapter(command.step)
        rows = self._load("held_out")
        batch = 50
        done = 0
        # The gate counts the reports of all evaluations together.
        evaluations = 2 + self._orders.limits.evaluations
        progress = Progress("evaluate", len(rows), frames.PROGRESS_LIMIT // evaluations)

        def on_rollouts(scored: Sequence[ScoredRollout]) -> None:
            nonlocal done
            done += len(scored)
            for report in progress.after(done):
                self._channel.send_record(report)

        if command.phase == "before":
            with self._policy.reference():
                found = evaluate(self._policy, rows, self._scorer, self._config, batch, on_rollouts)
                remembered = exposure_metrics(self._policy, rows, self._config)
        else:
            found = evaluate(self._policy, rows, self._scorer, self._config, batch, on_rollouts)
            remembered = exposure_metrics(self._policy, rows, self._config)
        declared = {f"evaluator_{name}" for name in self._orders.evaluator.metrics}
        values = {f"evaluator_{name}": value for name, value in found.metrics.items()}
        values = {name: value for name, value in values.items() if name in declared}
        values |= {"score_mean": found.score_mean, **remembered}
        self._channel.send_record(
            frames.Evaluated(
                phase=command.phase,
                rows=found.rows,
                values={name: frames.rounded(value) for name, value in sorted(values.items())},
            )
        )

    def train(self, command: frames.Train) -> None:
        """Train on: from the beginning, from where the last segment ended, or from a checkpoint."""
        if self._rows is None:
            rows = self._load("train")
            self._rows = plant(self._policy, rows, self._config)
        state = self._state_after(command.from_step)
        rollouts: list[ScoredRollout] = []

        def on_rollouts(scored: Sequence[ScoredRollout]) -> None:
            rollouts[:] = scored[:SAMPLE_ROLLOUTS]

        def on_step(metrics: StepMetrics) -> None:
            self.where.step = metrics.step
            declared = self._orders.limits.step_metrics
            values = {
                name: frames.rounded(value)
                for name, value in sorted(metrics.values.items())
                if name in declared
            }
            self._channel.send_record(frames.StepDone(step=metrics.step, values=values))

        def on_checkpoint(checkpoint: Checkpoint) -> None:
            self._write(checkpoint, rollouts)

        self.where.step = state.step
        train(
            self._policy,
            self._rows,
            self._scorer,
            self._config,
            state,
            on_step=on_step,
            on_checkpoint=on_checkpoint,
            on_rollouts=on_rollouts,
            until=command.to_step,
        )
        self._state = state
        self.where.step = -1

    def _state_after(self, step: int) -> TrainingState:
        """The training state after ``step``, with the policy as it was then."""
        if self._state is None or self._state.step != step:
            self._state = (
                resumed_state(self._policy, self._config, self._checkpoint(step))
                if step
                else new_state(self._policy, self._config)
            )
        return self._state

    def _take_adapter(self, step: int) -> None:
        """Give the policy the adapter of the checkpoint after ``step``, unless it has that."""
        if self._state is None or self._state.step != step:
            load_adapter(self._policy, self._opened(step, "adapter"))
            self._state = None

    def test_evaluator(self, command: frames.TestEvaluator) -> None:
        """Score completions of the base model and tell all that fail; see ``evaluator_trial``."""
        if not 0 < command.rows * command.samples <= frames.TRIAL_COMPLETIONS:
            raise ChannelViolation(place="broker", expected="a trial within the limit")
        indices = trial_rows(self._config, command.rows, self._manifests["train"].records)
        rows = self._load("train")
        for record in trial(
            self._policy, rows, indices, command.samples, self._scorer, self._config
        ):
            self._channel.send_record(record)

    def _manifest(self, dataset: frames.Dataset) -> DatasetManifest:
        """A dataset's manifest, pinned by the plan; its signature was checked by the releaser."""
        data = self._orders.data
        pinned = (data.train if dataset == "train" else data.held_out).manifest_sha256
        envelope = self._fetcher.whole(frames.Fetch(kind="manifest", dataset=dataset), pinned)
        payload = base64.b64decode(msgspec.json.decode(envelope)["payload"])
        manifest = decode_dataset(payload, f"{dataset} manifest")
        check_keyset(manifest.keyset, self._attested.keysets[dataset], place=dataset)
        return manifest

    def _lines(self, dataset: frames.Dataset, shard: int) -> Iterator[bytes | None]:
        manifest = self._manifests[dataset]
        position = Position()
        self.where.dataset, self.where.shard, self.where.position = dataset, shard, position
        request = frames.Fetch(kind="shard", dataset=dataset, index=shard)
        pieces = self._fetcher.pieces(request)
        try:
            yield from open_shard(
                pieces,
                manifest,
                manifest.shards[shard],
                self._attested.keysets[dataset],
                self._window,
                position,
            )
        finally:
            # What is left of the object must be read before anything else can be said.
            for _ in pieces:
                pass
        self.where.shard, self.where.position = -1, Position()

    def _load(self, dataset: frames.Dataset) -> SparseRows:
        """The rows that the run can come to, in one pass over the shards; the rest is let go."""
        manifest = self._manifests[dataset]
        held: dict[int, Row] = {}
        index = bad = 0
        for shard in manifest.shards:
            for line in self._lines(dataset, shard.index):
                if index in self._asked[dataset]:
                    fault = self._fault(line, asks=False)  # prompts were checked with the shard
                    if fault is not None:
                        bad += 1
                        self._report_bad(fault)
                    elif line is not None:
                        held[index] = decode_row(line)
                index += 1
        if bad:
            raise RecordsRejected(actual=f"{bad}")
        return SparseRows(manifest.records, held)

    def _fault(self, line: bytes | None, *, asks: bool) -> FaultCode | None:
        """What is wrong with a record; ``asks`` when the model is to be asked it."""
        if line is None:
            return FaultCode.TOO_LONG
        try:
            row = decode_row(line)
            if asks:
                check_prompt(self._policy, row, self._config)
        except RecordFault as fault:
            return fault.code
        return None

    def _report_bad(self, fault: FaultCode) -> None:
        self._bad_reported += 1
        if self._bad_reported <= frames.BAD_RECORD_LIMIT:
            self._channel.send_record(
                frames.BadRecord(
                    dataset=self.where.dataset,
                    shard=self.where.shard,
                    line=self.where.position.line,
                    fault=str(fault),
                )
            )

    def _checkpoint(self, step: int) -> Checkpoint:
        """A checkpoint of this run; only an enclave of this run can have sealed it."""
        return Checkpoint(
            step=step, adapter=self._opened(step, "adapter"), state=self._opened(step, "state")
        )

    def _opened(self, step: int, artifact: frames.Artifact) -> bytes:
        request = frames.Fetch(kind="artifact", index=step, artifact=artifact)
        sealed = self._fetcher.whole(request, None)
        ad = object_ad(self._orders.run, step, artifact)
        return bytes(self._outputs.open(sealed, ad, place=f"checkpoint {step} {artifact}"))

    def _write(self, checkpoint: Checkpoint, rollouts: Sequence[ScoredRollout]) -> None:
        """Seal and put a checkpoint's objects, then sign its manifest."""
        lines = b"".join(msgspec.json.encode(rollout) + b"\n" for rollout in rollouts)
        entries = {
            "adapter": self._put("adapter", checkpoint.step, checkpoint.adapter),
            "state": self._put("state", checkpoint.step, checkpoint.state),
            "rollouts": self._put("rollouts", checkpoint.step, lines),
        }
        manifest = checkpoint_manifest(
            self._orders.run, self._orders.digest, checkpoint.step, entries
        )
        message = pae(CHECKPOINT_TYPE, encode(manifest))
        signature = base64.b64encode(self._attested.signing_key.sign(message)).decode()
        self._channel.send_record(
            frames.CheckpointDone(
                step=checkpoint.step,
                adapter=entries["adapter"],
                state=entries["state"],
                rollouts=entries["rollouts"],
                signature=signature,
            )
        )

    def _put(self, artifact: frames.Artifact, step: int, plaintext: bytes) -> frames.SealedEntry:
        ad = object_ad(self._orders.run, step, artifact)
        sealed = self._outputs.seal_deterministic(plaintext, ad)
        self._channel.send_record(frames.Put(artifact=artifact, index=step, size_bytes=len(sealed)))
        self._channel.send_object([sealed])
        return frames.SealedEntry(
            size_bytes=len(sealed),
            sha256=sha256(sealed),
            plaintext_sha256=sha256(plaintext),
            header=encode_header(bytes(sealed[:HEADER_BYTES])),
        )
