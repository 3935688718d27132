"""What a ``train`` enclave does once it has keys: verify, evaluate, train, try the evaluator.

Imported only after stage A, since it loads torch. Everything comes in through the channel, and
everything goes out sealed or as a record of ``enclave.channel.frames``.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext

from strongroom.enclave.attest import Attested
from strongroom.enclave.channel import capacity, frames
from strongroom.enclave.channel.errors import ChannelViolation
from strongroom.enclave.channel.framing import Channel
from strongroom.enclave.channel.progress import Progress
from strongroom.enclave.evaluator.pair import Evaluators
from strongroom.enclave.evaluator.source import evaluator_source
from strongroom.enclave.evaluator.trial import trial, trial_rows
from strongroom.enclave.plan.document import Plan
from strongroom.enclave.roles.checkpoint_store import CheckpointStore
from strongroom.enclave.roles.datasets import Datasets, Where
from strongroom.enclave.roles.fetcher import Fetcher
from strongroom.trainer.checkpoints.checkpoint import Checkpoint, load_adapter, resumed_state
from strongroom.trainer.data.rows import Row, SparseRows
from strongroom.trainer.evaluation.held_out import evaluate
from strongroom.trainer.evaluation.memorisation import exposure_metrics, plant
from strongroom.trainer.loop import train
from strongroom.trainer.model.lora import Policy
from strongroom.trainer.rollouts.prompts import check_prompt
from strongroom.trainer.rollouts.scoring import ScoredRollout
from strongroom.trainer.steps.metrics import StepMetrics
from strongroom.trainer.steps.state import TrainingState, new_state

SAMPLE_ROLLOUTS = 32
"""Completions of a step that a checkpoint keeps, for the key's holder to read."""


class Tasks:
    """The state of one enclave between commands."""

    def __init__(
        self,
        channel: Channel,
        plan: Plan,
        policy: Policy,
        evaluators: Evaluators,
        attested: Attested,
        window: memoryview,
    ) -> None:
        """Loads both evaluators and both manifests; ``window`` is for one segment's plaintext."""
        self._channel = channel
        self._plan = plan
        self._config = plan.training
        self._policy = policy
        self._evaluators = evaluators
        self.where = Where()
        self._checkpoints = CheckpointStore(channel, plan, attested)
        source = evaluator_source(Fetcher(channel).whole, plan, attested.keysets)
        for evaluator in evaluators:
            evaluator.load(
                source,
                plan.evaluator.metrics,
                timeout_s=plan.evaluator.timeout_s,
                environment=self._config.sampling.max_turns > 1,
                score_range=plan.evaluator.score_range,
                concurrency=plan.evaluator.concurrency,
            )
        self._datasets = Datasets(
            channel, plan, attested.keysets, window, self._check_prompt, self.where
        )
        self._rows: SparseRows | None = None
        self._state: TrainingState | None = None

    def verify(self, command: frames.Verify) -> None:
        """Check one shard: see :meth:`Datasets.verify`."""
        self._channel.send_record(self._datasets.verify(command.dataset, command.shard))

    def evaluate(self, command: frames.Evaluate) -> None:
        """Score the held-out rows, with a checkpoint's adapter or without any."""
        before = command.phase == "before"
        if not before:
            self._take_adapter(command.step)
        rows = self._datasets.load("held_out")
        done = 0
        # The gate counts the reports of all evaluations together.
        evaluations = 2 + self._plan.limits.evaluations
        progress = Progress("evaluate", len(rows), capacity.PROGRESS_LIMIT // evaluations)

        def on_rollouts(scored: Sequence[ScoredRollout]) -> None:
            nonlocal done
            done += len(scored)
            for report in progress.after(done):
                self._channel.send_record(report)

        with self._policy.reference() if before else nullcontext():
            found = evaluate(
                self._policy, rows, self._evaluators.held_out, self._config, on_rollouts=on_rollouts
            )
            remembered = exposure_metrics(self._policy, rows, self._config)
        values = {"score_mean": found.score_mean, **remembered}
        for name in self._plan.evaluator.metrics:
            if name in found.metrics:
                values[f"evaluator_{name}"] = found.metrics[name]
        self._channel.send_record(
            frames.Evaluated(
                phase=command.phase,
                rows=found.rows,
                values={name: capacity.rounded(value) for name, value in sorted(values.items())},
            )
        )

    def train(self, command: frames.Train) -> None:
        """Train from the beginning, from where the last command ended, or from a checkpoint."""
        if self._rows is None:
            self._rows = plant(self._policy, self._datasets.load("train"), self._config)
        state = self._state_after(command.from_step)
        sample: Sequence[ScoredRollout] = ()

        def on_rollouts(scored: Sequence[ScoredRollout]) -> None:
            nonlocal sample
            sample = scored[:SAMPLE_ROLLOUTS]

        def on_step(metrics: StepMetrics) -> None:
            self.where.step = metrics.step
            declared = self._plan.limits.step_metrics
            values = {
                name: capacity.rounded(value)
                for name, value in sorted(metrics.values.items())
                if name in declared
            }
            self._channel.send_record(frames.StepDone(step=metrics.step, values=values))

        def on_checkpoint(checkpoint: Checkpoint) -> None:
            self._checkpoints.write(checkpoint, sample)

        self.where.step = state.step
        train(
            self._policy,
            self._rows,
            self._evaluators.train,
            self._config,
            state,
            on_step=on_step,
            on_checkpoint=on_checkpoint,
            on_rollouts=on_rollouts,
            until=command.to_step,
        )
        self._state = state
        self.where.step = -1

    def test_evaluator(self, command: frames.TestEvaluator) -> None:
        """Score completions of the base model and report every failure: see ``evaluator.trial``."""
        if not 0 < command.rows * command.samples <= capacity.TRIAL_COMPLETIONS:
            raise ChannelViolation(place="broker", expected="a trial within the limit")
        indices = trial_rows(self._config, command.rows, self._datasets.records("train"))
        rows = self._datasets.load("train")
        for record in trial(
            self._policy, rows, indices, command.samples, self._evaluators.train, self._config
        ):
            self._channel.send_record(record)

    def _check_prompt(self, row: Row) -> None:
        check_prompt(self._policy, row, self._config)

    def _state_after(self, step: int) -> TrainingState:
        """The training state after ``step``, with the policy as it was then."""
        if self._state is None or self._state.step != step:
            self._state = (
                resumed_state(self._policy, self._config, self._checkpoints.read(step))
                if step
                else new_state(self._policy, self._config)
            )
        return self._state

    def _take_adapter(self, step: int) -> None:
        """Give the policy the adapter of the checkpoint after ``step``, unless it has that."""
        if self._state is None or self._state.step != step:
            load_adapter(self._policy, self._checkpoints.adapter(step))
            self._state = None
