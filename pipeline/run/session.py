"""One admitted run: what each stage asks of the enclave, and what it writes.

The stages of the pipeline call the methods below, in order. This process sees handles, digests,
counts and rounded numbers, and never a credential, a key, a sealed object or a row.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from strongroom.audit.events import types as events
from strongroom.crypto.digests import sha256
from strongroom.enclave.channel import capacity, frames
from strongroom.enclave.channel.errors import RecordsRejected
from strongroom.enclave.plan.document import Plan
from strongroom.enclave.plan.objects import RunLayout, checkpoint_steps
from strongroom.errors import StrongroomError
from strongroom.errors.defect import defect
from strongroom.pipeline.planning.errors import FactMissing, RunExists
from strongroom.pipeline.run import edges
from strongroom.pipeline.run.connections import Connections
from strongroom.pipeline.run.enclave import RunEnclave
from strongroom.pipeline.run.failures import log_failure
from strongroom.pipeline.run.manifests import Manifests
from strongroom.pipeline.run.record.history import History
from strongroom.pipeline.run.record.recorder import Recorder
from strongroom.pipeline.run.record.result import result_of
from strongroom.pipeline.run.stored import create_or_compare

DATASETS: tuple[frames.Dataset, ...] = ("train", "held_out")


class RunSession:
    """A run with its enclave and its log."""

    def __init__(self, plan: Plan, manifests: Manifests, connections: Connections) -> None:
        self.plan = plan
        self.layout = RunLayout(plan.outputs, plan.run)
        self.journal = connections.journal
        self.recorder = Recorder(plan, manifests, connections.journal, connections.watcher)
        self.enclave = RunEnclave(plan, manifests, connections, self.recorder)
        self.failure: StrongroomError | None = None
        self.interrupted = False
        self.original: events.TrainingFinished | None = None
        """In a replay: how the training that is repeated ended, since time decides otherwise."""
        self._manifests = manifests
        self._training = plan.training
        self._started = time.monotonic()
        self._connections = connections

    @property
    def history(self) -> History:
        """What the log says of the run so far."""
        return self.recorder.history

    # ---- before the pipeline ---------------------------------------------------------------

    def publish_plan(self, evaluator: bytes | None) -> None:
        """Claim the run's id by creating its plan, then store the evaluator beside it.

        ``None`` for a sealed one, which stays where it is.
        """
        broker = self._connections.data
        if evaluator is not None and sha256(evaluator) != self.plan.evaluator.sha256:
            found = sha256(evaluator)
            raise FactMissing(
                place="spec.evaluator.source", expected=self.plan.evaluator.sha256, actual=found
            )
        if not broker.create(self.layout.plan, "run-create", self.plan.to_json()):
            raise RunExists(place=self.layout.plan)
        if evaluator is not None:
            broker.create(self.layout.evaluator, "run-create", evaluator)

    def resume(self, history: History) -> None:
        """Continue a run with this history, after its last checkpoint."""
        self.recorder.continue_from(history)
        event = events.RunResumed(plan=self.plan.digest, step=history.checkpoint)
        self.journal.record("controller", event)

    @contextmanager
    def failing(self) -> Iterator[None]:
        """Log whatever fails, with the stage and step that the run had come to."""
        try:
            yield
        except Exception as error:
            log_failure(self._connections, error, self.recorder.stage, self.recorder.step)
            raise

    # ---- the stages ------------------------------------------------------------------------

    def open_datasets(self) -> Iterator[edges.ShardHandle]:
        """One handle per shard of both datasets."""
        self.recorder.enter("open")
        for dataset in DATASETS:
            for shard in self._manifests.of(dataset).shards:
                yield edges.ShardHandle(
                    run=self.plan.run, dataset=dataset, shard=shard.index, sha256=shard.sha256
                )

    def verify_shard(self, handle: edges.ShardHandle) -> edges.ShardReceipt:
        """Authenticate one shard and check its records, in the enclave."""
        self.recorder.enter("verify")
        dataset: frames.Dataset = "train" if handle.dataset == "train" else "held_out"
        receipt = self.enclave.verify(dataset, handle.shard)
        return edges.ShardReceipt(
            run=handle.run,
            dataset=dataset,
            shard=handle.shard,
            records=receipt.records,
            bad_records=receipt.bad_records,
        )

    def train(self, receipts: list[edges.ShardReceipt]) -> edges.TrainedHandle:
        """Train, checkpoint by checkpoint, if every record of every shard was good."""
        bad = sum(receipt.bad_records for receipt in receipts)
        if bad:
            raise self.recorder.rejected(bad)
        if self.history.before is None:
            self.recorder.enter("evaluate_before")
            self.enclave.evaluate("before", 0)
        self.recorder.enter("train")
        try:
            while self.history.finished is None:
                self._train_on()
        except RecordsRejected:
            raise self.recorder.rejected(self.recorder.bad_records) from None
        chosen = self._chosen()
        return edges.TrainedHandle(run=self.plan.run, step=chosen.step, adapter=chosen.adapter)

    def _train_on(self) -> None:
        """What is due at the last checkpoint: its score, the end of training, or more training."""
        history, training = self.history, self._training
        here = history.checkpoint
        if training.score_checkpoints and here and here not in history.scores:
            self.enclave.evaluate("during", here)
        ending = history.ending(training, self.original)
        if ending is not None:
            self.recorder.record("controller", ending)
            return
        following = min(step for step in checkpoint_steps(training) if step > here)
        self.enclave.train(here, following)

    def _chosen(self) -> events.CheckpointWritten:
        """The checkpoint that is the run's result."""
        if self.history.chosen is None:
            raise defect(AssertionError("training has not finished"))
        return self.history.chosen

    def evaluate(self, trained: edges.TrainedHandle) -> edges.EvaluatedHandle:
        """Score the held-out rows with the chosen adapter, read back from its checkpoint if need
        be."""
        self.recorder.enter("evaluate")
        if self.history.after is None:
            self.enclave.evaluate("after", trained.step)
        return edges.EvaluatedHandle(
            run=trained.run,
            step=trained.step,
            adapter=trained.adapter,
            rows=self.history.evaluated_rows,
        )

    def publish(self, evaluated: edges.EvaluatedHandle) -> edges.PublishedHandle:
        """Write the result, which makes the run complete, and log it."""
        self.recorder.enter("publish")
        result = result_of(self.plan.run, self.plan.digest, self.journal.events())
        create_or_compare(self._connections.data, self.layout.result, result)
        chosen = self._chosen()
        self.enclave.stop()
        self.journal.record(
            "controller",
            events.RunPublished(
                uri=chosen.uri,
                manifest=chosen.manifest,
                adapter=chosen.adapter,
                objects=chosen.objects,
            ),
            events.RunCompleted(
                steps=self.history.checkpoint,
                seconds=capacity.rounded(time.monotonic() - self._started),
                adapter=chosen.adapter,
                manifest=chosen.manifest,
            ),
        )
        return edges.PublishedHandle(run=evaluated.run, result=sha256(result))
