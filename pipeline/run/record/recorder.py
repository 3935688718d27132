"""What a run reports as it goes, as events of the audit log and to its watcher."""

from __future__ import annotations

from strongroom.audit.events import types as events
from strongroom.audit.events.alarms import ALARMS
from strongroom.audit.events.entries import Actor
from strongroom.enclave.channel import frames
from strongroom.enclave.channel.errors import RecordRejected, RecordsRejected
from strongroom.enclave.checkpoints import OBJECT_NAMES
from strongroom.enclave.plan.document import Plan
from strongroom.enclave.plan.objects import RunLayout
from strongroom.errors import ErrorList
from strongroom.pipeline.run.manifests import Manifests
from strongroom.pipeline.run.record.history import History
from strongroom.pipeline.run.record.journal import Journal
from strongroom.pipeline.run.watcher import Watcher

MAX_LISTED = 100
"""Bad records that an error names one by one."""


class Recorder:
    """Where a run stands, and the events that say so."""

    def __init__(
        self, plan: Plan, manifests: Manifests, journal: Journal, watcher: Watcher
    ) -> None:
        self.stage = "plan"
        self.step = 0
        self.history = History()
        self._plan = plan
        self._layout = RunLayout(plan.outputs, plan.run)
        self._manifests = manifests
        self._journal = journal
        self._watcher = watcher
        self._bad: list[RecordRejected] = []

    def enter(self, stage: str) -> None:
        """A stage begins, unless the run is in it."""
        if stage != self.stage:
            self.stage = stage
            self._watcher.stage(stage)

    def continue_from(self, history: History) -> None:
        """Take up a run with this history."""
        self.history = history
        self.step = history.checkpoint

    def record(self, actor: Actor, event: events.EventData) -> None:
        """Log an event, then apply it to the history."""
        self._journal.record(actor, event)
        self.history.apply(event)

    def report(self, report: frames.Report) -> None:
        """Take in what the enclave reports."""
        match report:
            case frames.Progress(activity="evaluate") if self.stage == "train":
                pass  # the bar shows steps; what is scored between them would push it back
            case frames.Progress(activity=activity, done=done, total=total):
                self._watcher.progress(activity, done, total)
            case frames.BadRecord():
                self._bad_record(report)
            case frames.StepDone(step=step, values=values):
                self._step_done(step, values)
            case (
                frames.ShardVerified()
                | frames.Evaluated()
                | frames.CheckpointWritten()
                | frames.EvaluatorTested()
                | frames.EvaluatorFault()
            ):
                pass  # part of the answer to a command, recorded once that is checked

    def shard_opened(self, dataset: frames.Dataset, shard: int) -> None:
        """Log that a shard was authenticated."""
        manifest = self._manifests.of(dataset)
        pinned = manifest.shards[shard]
        event = events.ShardOpened(
            dataset=manifest.name,
            shard=shard,
            sha256=pinned.sha256,
            records=pinned.records,
            plaintext_bytes=pinned.plaintext_bytes,
        )
        train, held_out = self._manifests.train.manifest, self._manifests.held_out.manifest
        before = 0 if dataset == "train" else len(train.shards)
        total = len(train.shards) + len(held_out.shards)
        self._watcher.progress("verify", before + shard + 1, total)
        self.record("enclave", event)

    def checkpoint_written(self, written: frames.CheckpointWritten) -> None:
        """Log a checkpoint."""
        sealed = {
            "adapter": written.adapter,
            "state": written.state,
            "rollouts": written.rollouts,
        }
        event = events.CheckpointWritten(
            step=written.step,
            uri=self._layout.checkpoint(written.step),
            objects=tuple(
                events.WrittenObject(
                    name=OBJECT_NAMES[name], sha256=entry.sha256, size_bytes=entry.size_bytes
                )
                for name, entry in sealed.items()
            ),
            adapter=written.adapter.plaintext_sha256,
            manifest=written.manifest,
        )
        self.record("enclave", event)

    def evaluated(self, evaluated: frames.Evaluated) -> None:
        """Log an evaluation."""
        finished = self.history.finished
        steps = {
            "before": 0,
            "during": self.history.checkpoint,
            "after": finished.chosen if finished else 0,
        }
        event = events.EvaluationFinished(
            phase=evaluated.phase,
            step=steps[evaluated.phase],
            records=evaluated.rows,
            values=evaluated.values,
        )
        self.record("enclave", event)

    def rejected(self, count: int) -> ErrorList:
        """The error for ``count`` bad records, with those that were reported one by one."""
        self._journal.record("enclave")
        return ErrorList([*self._bad[:MAX_LISTED], RecordsRejected(actual=f"{count}")])

    @property
    def bad_records(self) -> int:
        """How many were reported one by one."""
        return len(self._bad)

    def _bad_record(self, bad: frames.BadRecord) -> None:
        manifest = self._manifests.of(bad.dataset)
        place = f"{self._plan.data.of(bad.dataset).uri}{manifest.shards[bad.shard].object}"
        self._bad.append(RecordRejected(place=f"{place}:{bad.line}", actual=bad.fault))
        event = events.RecordRejected(
            dataset=manifest.name, shard=bad.shard, line=bad.line, code=bad.fault
        )
        self._journal.note("enclave", event)

    def _step_done(self, step: int, values: dict[str, float]) -> None:
        self.step = step
        self._watcher.step(step, values)
        self.record("enclave", events.TrainingStep(step=step, values=values))
        for alarm in self.history.new_alarms():
            self.record("controller", alarm)
            explained = ALARMS[alarm.alarm]
            self._watcher.alarm(f"step {alarm.step}: {explained.meaning}: {explained.advice}")
